"""Verdicts on disk: what stands, whatever order the lines are in and wherever a crash cut the file."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_monitoring as lm
from llm_monitoring.reviewing import verdicts
from tests.builders import make_requests

AT = "2026-05-12T09:00:00Z"


def line(request_id, verdict, seq, **more):
    known = {"note": None, "reviewer": "ann", "reviewed_at": AT, "session": "s1"}
    return {"request_id": request_id, "verdict": verdict, "seq": seq, **known, **more}


def write(path, *lines):
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def stands(path):
    return dict(verdicts.read(path)[["request_id", "verdict"]].to_numpy().tolist())


def test_the_last_line_of_a_request_and_reviewer_stands_whatever_its_seq(tmp_path):
    path = write(tmp_path / "r.jsonl", line("r1", "unsure", 3), line("r2", "real", 2), line("r1", "real", 1))
    assert stands(path) == {"r2": "real", "r1": "real"}


def test_each_reader_has_a_verdict_of_their_own_and_undoes_only_that(tmp_path):
    path = tmp_path / "r.jsonl"
    verdicts.append(path, line("r1", "real", 7))
    verdicts.append(path, line("r1", "false_positive", 1, reviewer="bob", expected_output="30 days"))
    verdicts.append(path, line("r2", "real", 2, reviewer="bob"))
    verdicts.append(path, line("r2", None, 3, reviewer="bob"))
    frame = verdicts.read(path)
    assert frame[["request_id", "reviewer", "verdict"]].to_numpy().tolist() == [
        ["r1", "ann", "real"],
        ["r1", "bob", "false_positive"],
    ]
    assert frame["expected_output"].tolist() == [None, "30 days"]


def test_the_majority_leaves_out_who_is_unsure_and_a_tie_is_unsure():
    votes = {"a": "rrf", "b": "ru", "c": "rf", "d": "uu", "e": "f", "f": "ffu"}
    names = {"r": "real", "f": "false_positive", "u": "unsure"}
    rows = [(key, str(place), names[one]) for key, said in votes.items() for place, one in enumerate(said)]
    table = pd.DataFrame(rows, columns=["request_id", "reviewer", "verdict"])
    found = verdicts.majority(table).set_index("request_id")
    assert found["verdict"].to_dict() == {
        "a": "real", "b": "real", "c": "unsure", "d": "unsure", "e": "false_positive", "f": "false_positive",
    }  # fmt: skip
    assert found["readers"].tolist() == [3, 2, 2, 2, 1, 3]
    assert found["agreeing"].tolist() == [2, 1, 0, 2, 1, 2]


def test_before_the_first_verdict_there_is_no_majority():
    assert verdicts.majority(verdicts.empty()).columns.tolist() == ["request_id", "verdict", "readers", "agreeing"]
    assert verdicts.majority(verdicts.empty()).empty


def test_a_verdict_that_the_disk_takes_only_in_part_is_cut_off_again_and_told(tmp_path, monkeypatch):
    path, whole = tmp_path / "r.jsonl", os.write
    verdicts.append(path, line("r1", "real", 1))
    before, room = path.read_bytes(), [30]

    def nearly_full(file, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = whole(file, bytes(data)[: room[0]])
        room[0] -= done
        return done

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", nearly_full)
        with pytest.raises(OSError, match="No space left on device"):
            verdicts.append(path, line("r2", "real", 2))
    assert path.read_bytes() == before


WRITER = """
import sys
from llm_monitoring.reviewing import verdicts
path, name = sys.argv[1:]
for i in range(100):
    line = {"request_id": f"r{i}", "verdict": "real", "reviewer": name, "reviewed_at": None, "seq": i, "note": "x" * 3000}
    verdicts.append(path, line)
"""


def test_two_people_in_two_processes_lose_no_verdict(tmp_path):
    path = tmp_path / "r.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("ann", "bob")]
    assert [writer.wait() for writer in writers] == [0, 0]
    frame = verdicts.read(path)
    assert frame.groupby("reviewer").size().to_dict() == {"ann": 100, "bob": 100}
    assert frame.attrs["torn"] == 0


@pytest.mark.parametrize(("folder", "file"), [(0o700, 0o600), (0o755, 0o600), (0o777, 0o600), (0o770, 0o660)])
def test_a_new_verdict_file_is_private_or_for_the_group_of_its_folder_and_an_old_one_keeps_its_mode(
    tmp_path, folder, file
):
    tmp_path.chmod(folder)
    path = tmp_path / "r.jsonl"
    verdicts.append(path, line("r1", "real", 1))
    assert path.stat().st_mode & 0o777 == file
    path.chmod(0o640)
    verdicts.append(path, line("r2", "real", 2))
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_undo_line_takes_the_verdict_back_and_a_later_verdict_stands_again(tmp_path):
    path = write(tmp_path / "r.jsonl", line("r1", "real", 1), line("r1", None, 2))
    assert stands(path) == {}
    verdicts.append(path, line("r1", "false_positive", 3))
    assert stands(path) == {"r1": "false_positive"}


def test_a_torn_last_line_is_skipped_and_counted(tmp_path):
    path = write(tmp_path / "r.jsonl", line("r1", "real", 1))
    path.write_bytes(path.read_bytes() + b'{"request_id": "r2", "verd')
    assert stands(path) == {"r1": "real"}
    assert verdicts.read(path).attrs["torn"] == 1


def test_the_line_written_after_a_torn_one_is_whole_and_the_torn_one_stays_counted(tmp_path):
    path = write(tmp_path / "r.jsonl", line("r1", "real", 1))
    path.write_bytes(path.read_bytes() + '{"note": "na\u00efve'.encode()[:-3])
    verdicts.append(path, line("r2", "unsure", 2))
    assert stands(path) == {"r1": "real", "r2": "unsure"}
    assert verdicts.read(path).attrs["torn"] == 1


def test_a_line_completed_by_hand_without_a_line_end_is_kept(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(line("r1", "real", 1)))
    verdicts.append(path, line("r2", "real", 2))
    assert stands(path) == {"r1": "real", "r2": "real"}


@given(
    at=st.integers(0, 400),
    notes=st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.none(), min_size=1, max_size=4),
)
def test_wherever_a_crash_cuts_the_file_every_line_before_the_cut_stands(tmp_path_factory, at, notes):
    path = tmp_path_factory.mktemp("cut") / "r.jsonl"
    for seq, note in enumerate(notes, start=1):
        verdicts.append(path, line(f"r{seq}", "real", seq, note=note))
    content = path.read_bytes()[:at]
    path.write_bytes(content)
    verdicts.append(path, line("after", "unsure", 99))
    kept = verdicts.read(path)["request_id"].tolist()
    whole = [f"r{i}" for i in range(1, content.count(b"\n") + 1)]
    assert kept[: len(whole)] == whole
    assert kept[-1] == "after"


def test_lines_written_by_hand_count_in_their_order(tmp_path):
    first, second = ({"request_id": "r1", "verdict": verdict} for verdict in ("real", "unsure"))
    frame = verdicts.read(write(tmp_path / "r.jsonl", first, second))
    assert frame["verdict"].tolist() == ["unsure"]
    assert frame["reviewed_at"].isna().all()


def test_people_may_fill_in_a_csv_and_rows_still_open_are_no_reviews(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("request_id,verdict,reviewer,reviewed_at\n0017,real,ann,2026-05-12T09:00:00Z\n0018,,,\n")
    assert stands(path) == {"0017": "real"}


def test_the_frame_is_the_reviews_table_of_a_log(tmp_path):
    path = write(tmp_path / "r.jsonl", line("req-0000", "real", 1, note="=1+1 <b>"))
    frame = verdicts.read(path)
    assert list(frame.columns) == verdicts.COLUMNS
    assert str(frame["reviewed_at"].dt.tz) == "UTC"
    reviews = lm.open_log({"requests": make_requests(1), "reviews": frame}).reviews
    assert reviews[["request_id", "verdict", "note"]].to_numpy().tolist() == [["req-0000", "real", "=1+1 <b>"]]


def test_the_table_before_the_first_verdict_has_the_same_types(tmp_path):
    filled = verdicts.read(write(tmp_path / "r.jsonl", line("r1", "real", 1)))
    pd.testing.assert_series_equal(verdicts.empty().dtypes, filled.dtypes)


def test_every_wrong_line_is_named_with_its_number(tmp_path):
    path = write(tmp_path / "r.jsonl", line("r1", "bad", 1), line(7, "real", 2), ["r3"])
    path.write_text(path.read_text() + "real r4\n")
    with pytest.raises(lm.LogError) as error:
        verdicts.read(path)
    assert str(error.value).splitlines() == [
        "r.jsonl line 1, verdict: 'bad'; expected one of real, false_positive, unsure, or null for an undo",
        "r.jsonl line 2, request_id: 7; expected a text",
        "r.jsonl line 3: \"['r3']\"; expected one JSON object a line",
        "r.jsonl line 4: 'real r4'; expected one JSON object a line",
    ]


def test_times_without_zone_and_numbers_that_are_none_are_named(tmp_path):
    path = write(
        tmp_path / "r.jsonl",
        line("r1", "real", 1, reviewed_at="2026-05-12T09:00:00"),
        line("r2", "real", 2, reviewed_at="yesterday"),
        line("r3", "real", 3, quality_score="good"),
        line("r4", "real", "x"),
    )
    with pytest.raises(lm.LogError) as error:
        verdicts.read(path)
    zone = "expected a time with its zone, such as 2026-05-19T08:00Z, or null where unknown"
    assert str(error.value).splitlines() == [
        f"r.jsonl line 1, reviewed_at: '2026-05-12T09:00:00'; {zone}",
        f"r.jsonl line 2, reviewed_at: 'yesterday'; {zone}",
        "r.jsonl line 3, quality_score: 'good'; expected a number from 1 to 5, or null where unknown",
        "r.jsonl line 4, seq: 'x'; expected a whole number, or null",
    ]


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.jsonl"
    with pytest.raises(lm.LogError) as error:
        verdicts.read(path)
    assert str(error.value) == f"{path}: no such file; expected JSON Lines or CSV with verdicts"


def test_a_verdict_that_is_none_is_not_written(tmp_path):
    with pytest.raises(lm.ConfigError, match=r"^verdict='good'; expected one of 'real', 'false_positive', 'unsure'"):
        verdicts.append(tmp_path / "r.jsonl", line("r1", "good", 1))
    assert not (tmp_path / "r.jsonl").exists()
