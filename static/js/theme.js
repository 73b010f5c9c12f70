// Runs before the stylesheet, synchronously: deferred, it would paint the wrong theme first. The server has already
// rendered a theme that was chosen; what is left is "auto", and pages whose bytes are the same for everybody.
(function () {
  "use strict";
  var root = document.documentElement;
  var dark = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    var found = document.cookie.match(/(?:^|; )theme=(light|dark)(?:;|$)/);
    return found ? found[1] : "auto";
  }

  function apply() {
    var theme = chosen();
    root.setAttribute("data-bs-theme", theme === "auto" ? (dark.matches ? "dark" : "light") : theme);
  }

  apply();
  dark.addEventListener("change", apply);
})();
