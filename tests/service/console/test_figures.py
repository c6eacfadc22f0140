"""Figures: the same numbers as in the text that Prometheus reads."""

from prometheus_client.parser import text_string_to_metric_families

from service.console.figures import figures
from service.contract.console_schemas import MetricsReply
from service.telemetry import metrics


def test_samples_are_those_of_the_text_when_both_are_read():
    metrics.DEGRADED.labels("redis").inc(3)
    found = MetricsReply.model_validate(figures(8080), strict=True)
    text = {(sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(metrics.render().decode()) for sample in family.samples}
    assert {(one.name, *sorted(one.labels.items())): one.value for one in found.samples} == text
    assert found.replica.endswith(":8080")
