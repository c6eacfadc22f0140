"""What the short form of every scenario must show."""


def held(results, *scenarios, phases=("before", "during", "after")):
    """The results by scenario, after checking that there is one of each, with traffic in every phase and no problem."""
    assert [result.scenario for result in results] == list(scenarios)
    assert [problem for result in results for problem in result.problems] == []
    for result in results:
        assert set(result.phases) == set(phases)
        for row in result.phases.values():
            assert row["requests"] > 0
            assert row["failed"] == row["wrong"] == 0
    return {result.scenario: result for result in results}
