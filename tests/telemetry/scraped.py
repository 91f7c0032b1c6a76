"""What `/metrics` told, read by Prometheus's own parser."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scraped(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """The value of each sample."""

    def value(self, name: str, **labels: str) -> float | None:
        """None when there is no such sample."""
        return self.get((name, frozenset(labels.items())))

    def names(self) -> set[str]:
        return {name for name, _ in self}


def scrape(client: httpx.Client) -> Scraped:
    """As Prometheus does it: unsigned, and nothing but a 200 will do."""
    answer = client.get("/metrics", headers={"accept": "text/plain;version=0.0.4"})
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return Scraped(
        {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}
    )
