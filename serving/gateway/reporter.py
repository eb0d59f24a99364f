"""Who reports an event, and whether it is a shopper's doing."""

from dataclasses import dataclass, replace

from serving.gateway.ports import PageEvent
from serving.gateway.traffic import Client, Screen
from store.key_records import Role
from store.keyring import Key


@dataclass(frozen=True, slots=True)
class Reporter:
    """A browser, or a server that speaks for browsers."""

    client: Client
    screen: Screen
    key: Key | None = None
    """None where none is asked for, as in URLs that browsers load."""

    @property
    def is_server(self) -> bool:
        """Whether it speaks for browsers."""
        return self.key is not None and self.key.role.includes(Role.SERVER)

    def screened(self, event: PageEvent, now_ms: int, browser: Client | None = None) -> PageEvent:
        """The event, marked if it is no shopper's doing; `browser` is what a server says of whom it speaks for."""
        if self.is_server:
            client = browser or Client("", None)
            invalid = self.screen.of_report(event.type, client, now_ms)
        else:
            client = self.client
            invalid = self.screen.of_event(event.type, event.sold, client, now_ms, event.time_ms)
        stand_in = self.screen.pseudonyms.of(client.address, now_ms)
        return replace(event, attested=self.is_server, invalid=invalid, client=stand_in)
