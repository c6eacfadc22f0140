"""What is counted of an answer, and that known values are there before their first event."""

from tests.service.service_process import ServiceProcess


def test_known_values_start_at_zero_when_nothing_has_happened(tiny_bundle):
    with ServiceProcess(tiny_bundle) as process:
        metrics = process.metrics()
        for name in ('retrieval_degraded_total{reason="redis"}',
                     'retrieval_redis_failures_total{operation="get",reason="other"}',
                     'retrieval_admission_refused_total{reason="overloaded"}', "retrieval_log_lines_dropped_total",
                     'retrieval_bundle_refused_total{reason="broken"}', "retrieval_bundle_pointer_mismatch"):
            assert metrics[name] == 0, name
        answer = process.retrieve(user_id="user-01")
        metrics = process.metrics()
        for stage in ("total", "queue", "features", "cache", "user_tower", "search", "scorer"):
            assert metrics[f'retrieval_stage_seconds_count{{stage="{stage}"}}'] == 1
        scored = [metrics[f'retrieval_pairs_scored_total{{level="{level}"}}'] for level in (1, 2, 3)]
        assert sum(scored) == answer["pairs_scored"]
        assert metrics['retrieval_coverage_bucket{le="1.0"}'] == 1
        assert metrics['retrieval_user_cache_total{result="miss"}'] == 1
