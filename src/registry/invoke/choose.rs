//! Who of those that offer a tool is asked: from the index and what is under way, without doing anything.

use std::collections::BTreeMap;

use onex_core::{node::Tool, nodes::NodeView, state::State, trust::TrustState};
use onex_types::{
    ids::{NodeId, Token},
    time::MonoMillis,
};
use semver::{Comparator, Op, Version, VersionReq};

use crate::protocol::{
    bounds::Open,
    invoke::{CANDIDATES_SHOWN_MAX, Candidate, CandidateState, Choice, Policy, Reason},
    names::Namespace,
    subject::{ToolSubjects, check_subject},
};

use super::{
    history::Outlook,
    load::{Load, Loads},
    provider::Provider,
    queue::WaiterId,
};

/// Of so many calls one tries a provider of which others are asked first: who calls seldom is not always the one
/// that finds out.
const TRIED_EVERY: u64 = 10;

/// What a choice is made from.
pub(super) struct Field<'a, 'l> {
    pub(super) state: &'a State,
    pub(super) loads: &'l Loads,
    pub(super) now: MonoMillis,
    /// Calls that one provider may have under way from this instance.
    pub(super) provider_max: u32,
    /// Calls that may wait for one provider.
    pub(super) queue_max: usize,
    /// What the registry may call; none: anything, or it is not the registry that calls.
    pub(super) callable: Option<(&'l Namespace, &'l ToolSubjects)>,
    /// The call has waited before: as that waiter, and it was given a place at that provider.
    pub(super) waited: Option<(WaiterId, Option<Provider>)>,
}

/// A node that offers a tool of that name, and whether it will do.
pub(super) struct Considered<'a> {
    pub(super) node: NodeView<'a>,
    pub(super) tool: &'a Tool,
    pub(super) provider: Provider,
    pub(super) load: Load,
    trust: TrustState,
    pub(super) out: Option<Reason>,
    /// It will do once it has room.
    pub(super) waits: bool,
}

/// Everybody who offers the tool: those that will do first, in the order in which they are asked.
pub(super) struct Considerations<'a> {
    pub(super) all: Vec<Considered<'a>>,
    usable: usize,
}

impl<'a> Field<'a, '_> {
    /// Weighs all who offer a tool of that name, but for those in `without`, which did not do.
    pub(super) fn consider(
        &self,
        name: &Token,
        choice: &Choice,
        without: &BTreeMap<NodeId, Reason>,
        random: u64,
    ) -> Considerations<'a> {
        let mut all: Vec<Considered<'a>> = Vec::new();
        let offer = self.state.indexes.nodes.offer(name).into_iter();
        let ids = offer.flat_map(|offer| offer.providers(None));
        for node in ids.filter_map(|id| self.state.live_node(id)) {
            for tool in node.node.registration.tools_named(name) {
                all.push(self.weigh(node, tool, choice));
            }
        }
        narrow(&mut all, choice);
        // Only now: what fails for a moment must not bring in another version.
        let fails = |one: &Considered<'_>| {
            let tried = without.get(one.node.node_id).copied();
            let subject = (!self.may_call(one)).then_some(Reason::Subject);
            let open = one.load.open.map(|_| Reason::CircuitOpen);
            tried.or(subject).or(open)
        };
        for one in &mut all {
            one.out = one.out.or_else(|| fails(one));
            if one.out.is_none() && !self.has_place(one) {
                one.waits = self.may_wait(one);
                one.out = (!one.waits).then_some(Reason::AtBound);
            }
        }
        only_newest(&mut all);
        let mut places = shuffled(all.len(), random);
        all.sort_by_cached_key(|one| {
            let place = places.next().unwrap_or_default();
            (
                one.out.is_some(),
                one.waits,
                one.load.declined,
                rank(&one.load, choice.policy, place),
                one.node.node_id.clone(),
            )
        });
        let usable = all.iter().filter(|one| one.out.is_none()).count();
        Considerations { all, usable }
    }

    fn weigh(&self, node: NodeView<'a>, tool: &'a Tool, choice: &Choice) -> Considered<'a> {
        let provider = (node.live.incarnation, tool.name.clone());
        let trust = self.state.trust(&node).state;
        let contract = choice.contract_hash.as_ref();
        let range = choice.tool_version.as_ref();
        let pinned = choice.provider_node_id.as_ref();
        let out = if pinned.is_some_and(|pinned| pinned != node.node_id) {
            Some(Reason::NotPinned)
        } else if range.is_some_and(|range| !range.matches(&tool.version)) {
            Some(Reason::Version)
        } else if contract.is_some_and(|hash| *hash != tool.contract_hash) {
            Some(Reason::Contract)
        } else if choice.trusted_only && trust == TrustState::Untrusted {
            Some(Reason::Untrusted)
        } else {
            (node.left(self.now) == 0).then_some(Reason::Expired)
        };
        Considered {
            load: self.loads.of(&provider, self.now),
            node,
            tool,
            provider,
            trust,
            out,
            waits: false,
        }
    }

    fn may_call(&self, one: &Considered<'_>) -> bool {
        self.callable.is_none_or(|(namespace, subjects)| {
            let subject = &one.tool.subject;
            check_subject(subject, namespace, one.node.node_id, subjects).is_ok()
        })
    }

    fn has_place(&self, one: &Considered<'_>) -> bool {
        let given = self.waited.as_ref().and_then(|(_, given)| given.as_ref());
        given == Some(&one.provider) || one.load.own < self.provider_max
    }

    fn may_wait(&self, one: &Considered<'_>) -> bool {
        let waiter = self.waited.as_ref().map(|(waiter, _)| *waiter);
        self.loads.queue.others(&one.provider, waiter) < self.queue_max
    }
}

/// Who names no range gets the newest, and where none of its providers can be asked now, nothing that by its
/// version could be something else.
fn narrow(all: &mut [Considered<'_>], choice: &Choice) {
    if choice.tool_version.is_some() {
        return;
    }
    let allowed = |one: &&Considered<'_>| one.out.is_none();
    let versions = || all.iter().filter(allowed).map(|one| &one.tool.version);
    let released = versions().filter(|version| version.pre.is_empty()).max();
    let Some(newest) = released.or_else(|| versions().max()).cloned() else {
        return;
    };
    let alike = compatible(&newest);
    for one in all.iter_mut().filter(|one| one.out.is_none()) {
        let version = &one.tool.version;
        if *version > newest {
            one.out = Some(Reason::Version);
        } else if *version != newest && !alike.matches(version) {
            one.out = Some(Reason::Older);
        }
    }
}

/// Versions that may stand in for that one: older ones of its line.
fn compatible(newest: &Version) -> VersionReq {
    let caret = Comparator {
        op: Op::Caret,
        major: newest.major,
        minor: (newest.major == 0).then_some(newest.minor),
        patch: (newest.major == 0 && newest.minor == 0).then_some(newest.patch),
        pre: semver::Prerelease::EMPTY,
    };
    VersionReq {
        comparators: vec![caret],
    }
}

/// Of those that can be asked at once the newest version; where there are none, of those that can be waited for.
fn only_newest(all: &mut [Considered<'_>]) {
    let at_once = all.iter().any(|one| one.out.is_none() && !one.waits);
    let usable = |one: &&Considered<'_>| one.out.is_none() && !(at_once && one.waits);
    let versions = all.iter().filter(usable).map(|one| &one.tool.version);
    let Some(newest) = versions.max().cloned() else {
        return;
    };
    for one in all.iter_mut().filter(|one| one.out.is_none()) {
        if one.tool.version < newest {
            one.out = Some(Reason::Older);
        } else if one.tool.version > newest {
            one.out = Some(Reason::AtBound);
        }
    }
}

/// The lowest is asked first: numbers by the policy.
fn rank(load: &Load, policy: Policy, place: u64) -> (bool, u64, u64, u64) {
    match policy {
        Policy::First => (false, 0, 0, 0),
        Policy::RoundRobin => (false, load.turn, 0, 0),
        Policy::Random => (false, place, 0, 0),
        Policy::LeastLoaded => {
            let (behind, class) = match load.outlook {
                Outlook::Good => (false, class(load.recent)),
                Outlook::Due if load.awaited == 0 && place.is_multiple_of(TRIED_EVERY) => {
                    (false, 0)
                }
                // Where nobody else is left they take turns: one of them may do better by now.
                Outlook::Doubted | Outlook::Due => (true, 0),
            };
            (behind, load.in_flight.into(), class, load.turn)
        }
    }
}

/// Who is about as fast takes turns: a class is twice as slow as the one below.
fn class(recent: Option<f64>) -> u64 {
    let micros = recent.map_or(0.0, |millis| millis * 1_000.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates"
    )]
    let class = u64::BITS - (micros as u64).leading_zeros();
    class.into()
}

/// Numbers in a random order, by a generator with a good spread (`SplitMix64`).
fn shuffled(count: usize, seed: u64) -> impl Iterator<Item = u64> {
    (1..=u64::try_from(count).unwrap_or(u64::MAX)).map(move |n| {
        let mut mixed = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

impl<'a> Considerations<'a> {
    /// Who is asked.
    pub(super) fn chosen(&self) -> Option<&Considered<'a>> {
        self.all.first().filter(|one| one.out.is_none())
    }

    /// Whether somebody else could be asked after that.
    pub(super) fn has_another(&self) -> bool {
        self.usable > 1
    }

    /// Where nobody can be asked at once: those of whom the first that has room is asked.
    pub(super) fn waited_for(&self) -> Vec<Provider> {
        let usable = self.all.iter().take(self.usable).filter(|one| one.waits);
        usable.map(|one| one.provider.clone()).collect()
    }

    /// How many offer a tool of that name.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Where those are called that [`Self::candidates`] shows.
    pub(super) fn subjects(&self) -> Vec<String> {
        let shown = self.all.iter().take(CANDIDATES_SHOWN_MAX);
        shown.map(|one| one.tool.subject.clone()).collect()
    }

    /// All of them, as the wire says it.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let shown = self.all.iter().take(CANDIDATES_SHOWN_MAX).enumerate();
        shown.map(|(at, one)| one.shown(at == 0)).collect()
    }
}

impl Considered<'_> {
    fn why(&self) -> Option<Reason> {
        self.out.or(self.waits.then_some(Reason::AtBound))
    }

    fn shown(&self, first: bool) -> Candidate {
        let state = match self.out {
            Some(_) => CandidateState::Out,
            None if first => CandidateState::Chosen,
            None => CandidateState::Usable,
        };
        Candidate {
            node_id: self.node.node_id.clone(),
            tool_version: self.tool.version.clone(),
            contract_hash: self.tool.contract_hash.clone(),
            state: Open::Known(state),
            reason: self.why().map(Open::Known),
            message: self.why().map(|reason| match self.out {
                Some(_) => reason.said().to_owned(),
                None => format!("{}: a call waits for its turn", reason.said()),
            }),
            in_flight: self.load.in_flight,
            queued: self.load.queued,
            recent_ms: self.load.measured,
            trust_state: Open::Known(self.trust),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::registry::invoke::history::{DOUBTED_MILLIS_MIN, Ended};
    use onex_types::ids::Incarnation;

    #[test]
    fn an_older_version_of_the_same_line_may_stand_in() {
        for (newest, other, may) in [
            ("2.3.0", "2.0.0", true),
            ("2.3.0", "1.9.0", false),
            ("2.3.0", "2.3.0-rc.1", false),
            ("0.3.4", "0.3.1", true),
            ("0.3.4", "0.2.9", false),
            ("0.0.4", "0.0.3", false),
            ("0.0.4", "0.0.4", true),
        ] {
            let found = compatible(&newest.parse().unwrap()).matches(&other.parse().unwrap());
            assert_eq!(found, may, "{other} for {newest}");
        }
    }

    const CALLS: u64 = 5_000;
    const SHORT: Ended = Ended::Silent(Duration::from_millis(300));

    fn provider(n: usize) -> Provider {
        let incarnation = Incarnation(Uuid::from_u128(n as u128));
        (incarnation, "add".parse().unwrap())
    }

    /// How many of the calls, one after another with that pause in milliseconds, each provider gets; `ends` says how long it takes and how it ends.
    fn shares(providers: usize, pause: u64, ends: impl Fn(usize, u64) -> (u32, Ended)) -> Vec<u64> {
        let mut loads = Loads::default();
        let all: Vec<Provider> = (0..providers).map(provider).collect();
        let mut now = MonoMillis(1_000);
        let mut shares = vec![0; providers];
        for call in 0..CALLS {
            let places: Vec<u64> = shuffled(providers, call).collect();
            let closed = (0..providers).filter(|at| loads.of(&all[*at], now).open.is_none());
            let rank =
                |at: &usize| rank(&loads.of(&all[*at], now), Policy::LeastLoaded, places[*at]);
            let at = closed.min_by_key(rank).unwrap();
            loads.begin(&all[at]);
            let (took, ended) = ends(at, call);
            now = now.plus(took.into());
            loads.end(&all[at], f64::from(took), ended, now);
            now = now.plus(pause);
            shares[at] += 1;
        }
        shares
    }

    #[test]
    fn who_only_fails_gets_little_however_often_is_called() {
        for pause in [0, 100, 1_000, 10_000, 60_000, 3_600_000] {
            for bad in [(0, Ended::Refused), (300, SHORT)] {
                let never = shares(2, pause, |at, _| [bad, (10, Ended::Answered)][at]);
                assert!(
                    (1..=CALLS / 7).contains(&never[0]),
                    "{bad:?} {pause}: {never:?}"
                );
                let no_more = shares(2, pause, |at, call| match at {
                    0 if call > 10 => bad,
                    _ => (10, Ended::Answered),
                });
                assert!(no_more[0] <= CALLS / 7, "{bad:?} {pause}: {no_more:?}");
            }
        }
    }

    #[test]
    fn where_all_fail_each_is_tried() {
        let all = shares(3, 0, |_, _| (10, Ended::Refused));
        assert!(all.iter().all(|one| *one > CALLS / 4), "{all:?}");
    }

    /// The caller's own faults are none of the node's.
    #[test]
    fn who_is_asked_wrongly_now_and_then_keeps_its_place() {
        for wrong in [1, 3, 4] {
            let shares = shares(3, 0, |at, call| {
                let ended = if shuffled(1, !call).next().unwrap() % 10 < wrong {
                    Ended::Refused
                } else {
                    Ended::Answered
                };
                ([10, 10, 200][at], ended)
            });
            assert!(shares[2] * 100 < CALLS * 15, "{wrong} of 10: {shares:?}");
            assert!(
                shares[0].min(shares[1]) * 4 > CALLS,
                "{wrong} of 10: {shares:?}"
            );
        }
    }

    /// Who fails at once never has much under way.
    #[test]
    fn who_only_fails_is_not_preferred_for_having_nothing_to_do() {
        let (mut loads, now) = (Loads::default(), MonoMillis(0));
        let [fails, busy, new] = [1, 2, 3].map(provider);
        for (provider, ended) in [(&fails, Ended::Refused), (&busy, Ended::Answered)] {
            loads.begin(provider);
            loads.end(provider, 1.0, ended, now);
        }
        (0..16).for_each(|_| loads.begin(&busy));
        let ranked =
            |provider, now| rank(&loads.of(provider, now), Policy::LeastLoaded, TRIED_EVERY);
        assert!(ranked(&new, now) < ranked(&busy, now));
        assert!(ranked(&busy, now) < ranked(&fails, now));
        // One call finds out, a while later.
        let later = now.plus(DOUBTED_MILLIS_MIN);
        assert!(ranked(&fails, later) < ranked(&busy, later));
        loads.begin(&fails);
        let ranked = |provider| rank(&loads.of(provider, later), Policy::LeastLoaded, TRIED_EVERY);
        assert!(ranked(&busy) < ranked(&fails));
    }
}
