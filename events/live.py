"""What `request.live` offers a page. The realtime app provides it; domains see only these shapes."""

from typing import Any, Protocol

from events.channels import Channel


class Following(Protocol):
    """A page that follows channels. `config` says which, their positions, and what was denied."""

    @property
    def config(self) -> dict[str, Any]: ...

    @property
    def for_page(self) -> dict[str, Any]:
        """`config` with tokens, for the script of the page of this person. A response that holds it is not stored."""
        ...


class Live(Protocol):
    def may_listen(self, channel: Channel) -> bool:
        """Whether this person may subscribe to the channel: a panel fed by it is shown only then."""
        ...

    def may_publish(self, channel: Channel) -> bool:
        """Whether this person may publish on the channel: a form that does so is offered only then."""
        ...

    def follow(self, *channels: Channel) -> Following:
        """Authorise and read the positions to subscribe from. Call it before reading the page's data."""
        ...
