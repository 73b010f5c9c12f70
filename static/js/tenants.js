// A filter by tenant on a page over all of them: it offers who comes, and the page's rows know everybody by name.
//
// <select data-module="tenants"> <option value="{slug}" data-tenant-id="{id}" data-version="7">Acme</option>
// <script type="application/json" id="tenant-names">{id: name}

import { setText } from "./rows.js";

/** Put one `tenant_updated` into the filter and among the names, unless it is older than what they say. */
export function applyTenant(select, { tenantId, slug, name, version }) {
  let option = select.querySelector(`[data-tenant-id="${CSS.escape(tenantId)}"]`);
  if (Number(option?.dataset.version ?? 0) >= version) return;
  if (!option) {
    option = document.createElement("option");
    option.value = slug;
    option.dataset.tenantId = tenantId;
    select.append(option);
  }
  option.dataset.version = version;
  setText(option, name);
  const names = document.getElementById("tenant-names");
  names.textContent = JSON.stringify({ ...JSON.parse(names.textContent), [tenantId]: name });
}

export function start(select, live) {
  live.onEvent((event) => event.type === "tenant_updated" && applyTenant(select, event));
}
