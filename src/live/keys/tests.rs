use super::*;
use crate::live::sketch::Verdict;
use tollgate_core::descriptor::BucketKey;

const START: u64 = 1_790_000_010;

fn key(number: u64) -> BucketKey {
    let digest = blake3::hash(&number.to_le_bytes());
    BucketKey::from_bytes(digest.as_bytes()[..16].try_into().unwrap())
}

/// Notes of one second: so many decisions on each key, with that verdict.
fn notes(row: RowId, decided: impl IntoIterator<Item = (u64, u32, Verdict)>) -> Notes {
    let mut notes = Notes::default();
    for (number, times, verdict) in decided {
        for _ in 0..times {
            notes.sketch.count(&key(number), row, verdict, (10, 1));
        }
    }
    notes
}

fn began_and_ended(turns: &[Turn]) -> (usize, usize) {
    let began = turns.iter().filter(|turn| matches!(turn, Turn::Began { .. })).count();
    (began, turns.len() - began)
}

#[test]
fn the_top_keys_are_summed_over_runtimes_and_seconds_and_forgotten_after_five_minutes() {
    let (mut keys, row) = (Keys::default(), RowId::default());
    let admitted = Verdict::Admitted;
    let mut both = [notes(row, [(1, 5, admitted), (2, 3, admitted)]), notes(row, [(2, 4, Verdict::Denied)])];
    keys.tick(START, both.iter_mut());
    keys.tick(START + 1, [notes(row, [(1, 1, admitted)])].iter_mut());
    let border = |_| 8;
    let told = |keys: &Keys| -> Vec<(u64, u64, Nearness)> {
        let top = keys.top(row, 10, &border);
        top.iter().map(|top| (top.decisions, top.denied, top.nearness)).collect()
    };
    assert_eq!(told(&keys), [(7, 4, Nearness::Over), (6, 0, Nearness::Near)]);
    assert_eq!(keys.top(RowId::default(), 10, &border), []);
    let fullness = keys.fullness(&border)[&row];
    assert_eq!(fullness, Fullness { near: 1, over: 1, share: 1.0 });
    keys.tick(START + 300, std::iter::empty());
    assert_eq!(told(&keys).len(), 2);
    assert!(keys.fullness(&border).is_empty(), "not lately");
    keys.tick(START + 331, std::iter::empty());
    assert_eq!(told(&keys), []);
}

#[test]
fn denials_of_a_key_begin_once_and_end_after_ten_quiet_seconds() {
    let (mut keys, row) = (Keys::default(), RowId::default());
    let denied = |times| [notes(row, [(1, times, Verdict::Denied), (2, 1, Verdict::WouldDeny)])];
    assert_eq!(began_and_ended(&keys.tick(START, denied(2).iter_mut())), (1, 0));
    assert_eq!(began_and_ended(&keys.tick(START + 8, denied(3).iter_mut())), (0, 0));
    assert_eq!(began_and_ended(&keys.tick(START + 17, std::iter::empty())), (0, 0));
    let turns = keys.tick(START + 18, std::iter::empty());
    let ended =
        Turn::Ended { row, key: crate::logging::names::number(&key(1)), text: None, denied: 5, seconds: 9 };
    assert_eq!(turns, [ended]);
    assert_eq!(began_and_ended(&keys.tick(START + 19, denied(1).iter_mut())), (1, 0));
}

#[test]
fn any_number_of_keys_takes_bounded_memory_and_what_was_missed_is_told() {
    let (mut keys, row) = (Keys::default(), RowId::default());
    for second in 0..30 {
        let new = (0..2_000).map(|number| (1_000 * 2_000 + second * 2_000 + number, 1, Verdict::Admitted));
        let busy = (0..10).map(|number| (number, 50, Verdict::Admitted));
        keys.tick(START + second, [notes(row, busy.chain(new))].iter_mut());
        assert!(keys.kept.len() <= MOST_KEYS);
    }
    assert!(keys.has_more() && keys.left_out_at_most() > 0);
    let top = keys.top(row, 10, &|_| 8);
    for top in top {
        assert!(
            top.decisions - top.error <= 1_500 && top.decisions + keys.left_out_at_most() >= 1_500,
            "{top:?}"
        );
    }
}

#[test]
fn keys_that_are_forgotten_may_have_had_so_many_decisions() {
    let (mut keys, row) = (Keys::default(), RowId::default());
    for second in 0..75 {
        // So few that each finds room in the table of its second.
        let mut notes = notes(row, (0..300).map(|number| (second * 300 + number, 3, Verdict::Admitted)));
        assert_eq!(notes.sketch.most_evicted(), 0);
        keys.tick(START + second, std::iter::once(&mut notes));
        let forgotten = (second + 1) * 300 - keys.kept.len() as u64;
        assert_eq!(
            (keys.left_out_at_most(), keys.has_more()),
            if forgotten > 0 { (3, true) } else { (0, false) }
        );
    }
    assert!((STAY..=MOST_KEYS).contains(&keys.kept.len()));
}

#[test]
fn a_key_that_was_asked_for_once_takes_no_more_than_its_row() {
    assert!(size_of::<KeyRow>() <= 128, "{}", size_of::<KeyRow>());
    let (mut keys, row) = (Keys::default(), RowId::default());
    keys.tick(START, [notes(row, [(1, 1, Verdict::Denied)])].iter_mut());
    assert!(keys.kept.values().all(|row| row.slices.room() == 1));
}

#[test]
fn decisions_of_each_slice_leave_the_sum_when_it_is_over() {
    let (mut keys, row) = (Keys::default(), RowId::default());
    for slice in 0..40 {
        let times = if slice == 3 { 100 } else { 1 };
        keys.tick(START + slice * 30, [notes(row, [(1, times, Verdict::Admitted)])].iter_mut());
        let counted = keys.top(row, 1, &|_| 8)[0].decisions;
        let (slices, hundred) = (slice.min(10) + 1, if (3..14).contains(&slice) { 99 } else { 0 });
        assert_eq!(counted, slices + hundred, "in slice {slice}");
    }
    assert!(keys.kept.values().all(|row| row.slices.room() <= 16), "those that are over are forgotten");
}
