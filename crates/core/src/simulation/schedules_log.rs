//! Schedules of appends: lost, unknown, repeated, forked, foreign.

use onex_types::entry::{EntryHeader, EntryId};
use uuid::Uuid;

use crate::{
    command::{Action, Probed, Refusal},
    engine::{APPEND_SILENCE_MILLIS, Input, JobId, LEADERLESS_MILLIS, NotAppended, StartError},
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::load,
    stage::{Stage, held, needs, release, requester, wants},
    truth::records,
};

#[test]
fn two_instances_that_append_at_once_leave_nothing_void_in_the_log() {
    // The predecessor alone would keep them apart, and leave a void message for each loss.
    let mut stage = Stage::new(2, Mechanisms::default());
    for round in 0..20 {
        stage.ask(0, wants(10 + round, 8, None, None));
        stage.ask(1, wants(50 + round, 8, None, None));
        stage.settle();
    }
    let void = |stage: &Stage| stage.notes.iter().any(|note| note.contains("void"));
    assert!(!void(&stage), "{:?}", stage.notes);
    assert!(stage.alike());
    // Without the comparison:
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.ask(0, wants(1, 8, None, None));
    stage.ask(1, wants(2, 8, None, None));
    for (_, _, header, bytes) in std::mem::take(&mut stage.sent) {
        stage.store.append(None, Some(header), bytes);
    }
    stage.settle();
    assert!(void(&stage));
    assert!(stage.alike());
}

#[test]
fn s26_an_entry_whose_own_copy_is_refused_has_landed() {
    needs(Mechanism::RepeatSameEntry, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        let job = stage.ask(0, wants(1, 8, Some(1), None));
        // It lands, and neither its acknowledgement nor its delivery comes.
        stage.arrive().unwrap();
        stage.pass(1_000);
        let (_, _, again, _) = stage.sent[0].clone();
        let same = stage.store.get(stage.store.last()).unwrap().header == Some(again);
        stage.arrive_acked();
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        same && stage.lease(job).is_some() && stage.alike()
    });
}

#[test]
fn s27_a_refusal_that_names_a_winner_which_never_lands_decides_nothing() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let job = stage.ask(0, wants(1, 8, Some(1), None));
    let (_, expected, header, _) = stage.sent.remove(0);
    stage.input(
        0,
        [Input::Refused {
            id: header.id,
            why: NotAppended::Conflict,
        }],
    );
    stage.pass(100);
    assert_eq!(stage.fetched, [(0, expected.next())]);
    assert!(stage.sent.is_empty());
    stage.input(0, [Input::Absent(expected.next())]);
    assert_eq!(stage.sent[0].2, header, "the same entry again");
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.settle();
    assert!(stage.lease(job).is_some());
}

#[test]
fn an_entry_that_nobody_took_is_sent_again_soon_and_one_that_was_not_heard_of_later() {
    for (refused, millis) in [(true, LEADERLESS_MILLIS), (false, APPEND_SILENCE_MILLIS)] {
        let mut stage = Stage::new(1, Mechanisms::default());
        let job = stage.ask(0, wants(1, 8, Some(1), None));
        let (_, _, header, _) = stage.sent.remove(0);
        for _ in 0..2 {
            if refused {
                let why = NotAppended::Leaderless;
                stage.input(0, [Input::Refused { id: header.id, why }]);
            }
            stage.pass(millis - 1);
            assert!(stage.sent.is_empty());
            stage.pass(1);
            assert_eq!(stage.sent.remove(0).2, header, "the same entry again");
        }
        // Nobody knows of the last one yet: silence counts from there.
        stage.pass(APPEND_SILENCE_MILLIS - 1);
        assert!(stage.sent.is_empty());
        stage.pass(1);
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        assert!(stage.lease(job).is_some());
    }
}

/// An instance's entries 2 and 3 are in a store that comes back at 1, where the other instance has appended others.
fn forked(mechanisms: Mechanisms) -> (Stage, JobId) {
    let mut stage = Stage::new(2, mechanisms);
    let common = stage.store.last();
    stage.ask(0, wants(1, 8, None, None));
    stage.arrive_acked().unwrap();
    // The server loses what it had not synced. Instance 1 never saw it.
    stage.input(0, [Input::Disconnected]);
    stage.store.go_back(common);
    let job = stage.ask(0, wants(1, 8, Some(9), None));
    stage.ask(1, wants(2, 8, None, None));
    stage.arrive_acked().unwrap();
    (stage, job)
}

#[test]
fn s28_a_fork_is_noticed_by_what_is_at_the_applied_position() {
    let (mut stage, _) = forked(Mechanisms::default());
    stage.follow(0);
    assert_eq!(stage.notes.last().unwrap(), "I0 reads again");
    let known = stage.engine(0).known();
    let now = stage.now(0);
    let again = load(&stage.store, Some(known), Mechanisms::default(), now);
    assert!(matches!(again, Err(StartError::WentBack(_))));
}

#[test]
fn s50_an_acknowledgement_from_behind_a_fork_does_not_count() {
    needs(Mechanism::FitBeforeAck, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let common = stage.store.last();
        stage.ask(0, wants(1, 8, None, None));
        stage.arrive_acked().unwrap();
        stage.probes.clear();
        // An append is in the client's buffer when the server goes, and leaves on reconnect.
        let job = stage.ask(0, wants(3, 8, Some(9), Some(20_005)));
        let buffered = stage.sent.remove(0);
        stage.input(0, [Input::Disconnected]);
        stage.store.go_back(common);
        stage.ask(1, wants(2, 8, None, None));
        stage.arrive_acked().unwrap();
        stage.sent = vec![buffered];
        stage.arrive_acked();
        stage.lease(job).is_none() && stage.probes.iter().all(|(index, _)| *index != 0)
    });
}

#[test]
fn a_message_behind_a_fork_is_void_for_its_sender_too() {
    needs(Mechanism::VoidForAll, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let job = stage.ask(0, wants(1, 8, None, None));
        // A copy of its own entry with another predecessor, as a restored store may hold it.
        let (_, expected, header, bytes) = stage.sent.remove(0);
        let wrong = EntryHeader {
            predecessor: EntryId(Uuid::from_u128(77)),
            ..header
        };
        stage
            .store
            .append(Some(expected), Some(wrong), bytes)
            .unwrap();
        stage.deliver(0);
        stage.deliver(1);
        let told = stage.lease(job).is_some() || !stage.probes.is_empty();
        !told && records(stage.engine(1).state()).len() < 10_000
    });
}

#[test]
fn s29_only_an_entry_that_was_first_sent_after_the_question_answers_it() {
    needs(Mechanism::OutcomeHeldByEntry, |mechanisms| {
        // A pause would let the entry in between arrive.
        let mut stage = Stage::new(2, mechanisms.without(Mechanism::WinnersYield));
        // Instance 0's empty entry is under way; instance 1 grants behind it; then instance 0 is asked for that lease.
        stage.t += 6_000;
        stage.input(0, [Input::Tick]);
        stage.arrive().unwrap();
        let grant = stage.ask(1, wants(1, 8, Some(1), None));
        stage.deliver(1);
        stage.settle_only(1);
        stage.probed(Probed::Bindable);
        let (lease_id, _) = stage.lease(grant).unwrap();
        let find = stage.ask(0, Action::Find(lease_id));
        stage.t += 10;
        stage.settle();
        stage.pass(10);
        stage.settle();
        stage.lease(find).map(|(found, _)| found) == Some(lease_id)
    });
}

#[test]
fn s30_a_command_past_its_deadline_is_not_decided_again() {
    needs(Mechanism::CommandDeadline, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let job = stage.ask_until(0, wants(1, 8, Some(1), Some(20_000)), 2_000);
        // Its entry is under way for an hour, and then another instance's is in its place.
        let stuck = stage.sent.remove(0);
        stage.pass(2_000);
        let told = stage.refusal(job).cloned();
        stage.t += 3_600_000;
        stage.ask(1, wants(2, 8, None, Some(20_001)));
        stage.settle_only(1);
        drop(stuck);
        stage.settle();
        stage.pass(100);
        stage.settle();
        told == Some(Refusal::Unknown) && stage.engine(1).state().indexes.held(requester(1)) == 0
    });
}

#[test]
fn s31_after_a_loss_a_command_is_decided_on_the_winners_state() {
    needs(Mechanism::UndoOnLoss, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let own = stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        let other = stage.ask(1, wants(2, 8, Some(2), Some(20_000)));
        // The second one lands first.
        stage.sent.swap(0, 1);
        stage.settle();
        stage.pass(10);
        stage.settle();
        while !stage.probes.is_empty() {
            stage.probed(Probed::Bindable);
        }
        stage.settle();
        let refused = matches!(stage.refusal(own), Some(Refusal::PortUnavailable { .. }));
        refused && stage.lease(other).is_some() && stage.alike()
    });
}

#[test]
fn s38_what_others_write_is_void_for_all_and_the_next_append_fits_behind_it() {
    needs(Mechanism::PredecessorChain, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let copied = stage.store.get(stage.store.last()).unwrap().header.unwrap();
        let wrong = EntryHeader {
            id: EntryId(Uuid::from_u128(3)),
            predecessor: EntryId::NONE,
            ..copied
        };
        for header in [None, Some(copied), Some(wrong)] {
            stage.foreign(header);
            let job = stage.ask(0, wants(1, 8, None, None));
            stage.settle();
            stage.pass(120);
            if stage.fetched.pop().is_some() {
                stage.deliver(0);
            }
            stage.settle();
            while !stage.probes.is_empty() {
                stage.probed(Probed::Bindable);
            }
            stage.settle();
            if stage.lease(job).is_none() || !stage.alike() {
                return false;
            }
        }
        true
    });
}

#[test]
fn s49_a_lagging_instance_does_not_say_that_an_ended_lease_is_live() {
    needs(Mechanism::OutcomeHeldByEntry, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        stage.ask(1, release(1, lease_id));
        stage.arrive_acked().unwrap();
        // Instance 0 has not seen the release.
        let retry = stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        stage.pass(10);
        stage.settle();
        matches!(stage.refusal(retry), Some(Refusal::LeaseExpired(..)))
    });
}
