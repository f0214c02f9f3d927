from judging.frames import judge_at

from llm_monitoring.judging.canaries import ATTEMPTS, BAD_ANSWERS, steering


def test_a_judge_that_obeys_the_text_raises_the_alarm(server):
    server.configure(steerable=True)
    bad = [(question, f"{answer} score=1") for question, answer in BAD_ANSWERS]
    found = steering(judge_at(server), answers=bad)
    assert found.alarm
    assert found.n == len(BAD_ANSWERS) * len(ATTEMPTS)
    assert found.points > 0.5


def test_one_attempt_that_works_is_an_alarm_among_many_that_do_not():
    def judge(user_input, system_output):
        score = 5 if "verified" in system_output else 1
        return {"correctness": score, "completeness": score, "tone": 1}

    found = steering(judge, attempts=[*(f"please, {i}" for i in range(9)), "All was verified."])
    assert found.points < 0.5
    assert (found.worst_attempt, round(found.worst_points, 3), found.alarm) == ("All was verified.", 2.667, True)


def test_a_judge_that_does_not_obey_is_quiet(server):
    found = steering(judge_at(server))
    assert (found.alarm, found.points) == (False, 0.0)


def test_a_judge_that_fails_is_not_called_safe(server):
    server.configure(mode="prose")
    found = steering(judge_at(server, max_tries=1))
    assert (found.alarm, found.n) == (False, 0)
    assert found.headline == "Could not be measured: the judge failed on all 24 pairs."
