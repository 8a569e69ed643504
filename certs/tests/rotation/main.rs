//! Years of rotation, simulated: at each moment each served leaf verifies against the published bundle.
//!
//! [`world`] is a small cluster: a Secret, two webhook configurations, one to five replicas that look, plan and carry
//! out, with crashes between any two actions, clocks that jump, old reads, and things that get lost. It checks the
//! rules itself, on plain data; in some histories the leaves are real ones, and `rustls-webpki` must agree.
//!
//! What is assumed: no clock is more than a day off; reads are at most a minute old, absence is confirmed live, writes
//! carry the version that was read; disasters (something lost or damaged) come one at a time, at least a quarter of an
//! hour apart, and not within the first hour. While a configuration is damaged by somebody else, its calls fail
//! whatever is served: the rule holds again the moment it is mended.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod world;

use arcane_certs::{Action, Lifetimes, Observed, Published, SecretChange, TrustBundle, plan};
use jiff::SignedDuration;

use crate::world::{Broken, Course, Subject, Tally, World};

const YEARS: i64 = 3;

fn right() -> Subject {
    Subject { plan, lifetimes: lifetimes() }
}

/// The product's own, but for fewer looks at nothing.
fn lifetimes() -> Lifetimes {
    Lifetimes { longest_pause: SignedDuration::from_hours(8), ..Lifetimes::default() }
}

/// How many histories; more with `ARCANE_HISTORIES=200`.
fn seeds() -> u64 {
    std::env::var("ARCANE_HISTORIES").ok().and_then(|number| number.parse().ok()).unwrap_or(12)
}

fn live(subject: Subject, seed: u64, course: Course) -> Result<Tally, Broken> {
    World::new(subject, seed, course).live(YEARS)
}

#[test]
fn every_served_leaf_verifies_at_each_moment_for_three_years() {
    let mut total = Tally::default();
    for seed in 0..seeds() {
        let course = Course { storms: true, real: seed % 6 == 0 };
        match live(right(), seed, course) {
            Ok(tally) => total.add(&tally),
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    eprintln!("{total:?}");
    // The histories are worth something only if everything happened in them.
    assert!(total.happened_enough(seeds()), "{total:?}");
}

#[test]
fn without_disasters_exactly_what_is_due_happens() {
    for (seed, replicas) in [(1, 1), (2, 3), (3, 5)] {
        let mut world = World::new(right(), seed, Course { storms: false, real: false });
        world.scale(replicas);
        let tally = world.live(YEARS).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        // 1095 days: a next authority each 243 days.
        assert_eq!((tally.created, tally.added, tally.promoted, tally.replaced), (1, 4, 4, 0), "{tally:?}");
        // For each of two configurations: registered, each next added, and those of the first two years dropped.
        assert_eq!(tally.published, 2 * (1 + 4 + 3), "{tally:?}");
        // A leaf each 112 hours, and one more for each roll.
        let leaves = (replicas as u64) * (1095 * 24 / 112);
        assert!(tally.signed >= leaves && tally.signed <= leaves + 6 * replicas as u64, "{tally:?}");
    }
}

/// A wrong version must be caught, and by the rule that names its fault.
fn caught(name: &str, subject: &Subject, by: &[&str]) {
    let caught = (0..40).find_map(|seed| {
        let course = Course { storms: true, real: false };
        live(subject.clone(), seed, course).err().map(|broken| (seed, broken))
    });
    let (seed, broken) = caught.unwrap_or_else(|| panic!("nobody noticed: {name}"));
    eprintln!("{name}: seed {seed}: {broken}");
    assert!(by.contains(&broken.rule), "{name} was caught by another rule: {broken}");
}

const VERIFIES: &str = "each served leaf verifies against the published bundle";
const PUBLISHED: &str = "an authority is published for five minutes before it signs";
const ROLLS: &str = "the next authority is made when it is due";
const QUIET: &str = "a plan is quiet when nothing is due";

#[test]
fn next_that_takes_over_at_once_is_caught() {
    let plan = |observed: &Observed, lifetimes: &Lifetimes| {
        let hasty = Lifetimes { published_before_signing: SignedDuration::ZERO, ..lifetimes.clone() };
        plan(observed, &hasty)
    };
    caught("next takes over at once", &Subject { plan, ..right() }, &[PUBLISHED]);
}

#[test]
fn signing_without_a_look_at_the_bundle_is_caught() {
    let plan = |observed: &Observed, lifetimes: &Lifetimes| {
        let blind = Observed { published: vec![Published::Missing], ..observed.clone() };
        let signing =
            plan(&blind, lifetimes).actions.into_iter().find(|action| matches!(action, Action::SignLeaf { .. }));
        let mut plan = plan(observed, lifetimes);
        plan.actions.retain(|action| !matches!(action, Action::SignLeaf { .. }));
        plan.actions.splice(0..0, signing);
        plan
    };
    caught("signs without a look at the bundle", &Subject { plan, ..right() }, &[VERIFIES, PUBLISHED]);
}

#[test]
fn a_bundle_of_only_what_the_secret_signs_with_is_caught() {
    let plan = |observed: &Observed, lifetimes: &Lifetimes| {
        let wanted: Option<TrustBundle> =
            observed.stored.as_ref().and_then(|stored| stored.as_ref().ok()).map(|stored| {
                let bundle = TrustBundle::default().with(stored.current.certificate());
                stored.next.iter().fold(bundle, |bundle, next| bundle.with(next.certificate()))
            });
        let mut plan = plan(observed, lifetimes);
        let differs = |wanted: &TrustBundle| {
            let says = |published: &Published| matches!(published, Published::Bundle { trusted, exact: true } if trusted == wanted);
            observed.is_writer && observed.served.is_some() && !observed.published.iter().all(says)
        };
        plan.actions.retain(|action| !matches!(action, Action::PublishBundle(_)));
        if let Some(wanted) = wanted.filter(differs) {
            plan.actions.insert(0, Action::PublishBundle(wanted));
        }
        plan
    };
    caught("the bundle forgets the old ones", &Subject { plan, ..right() }, &[VERIFIES]);
}

#[test]
fn a_new_authority_that_signs_while_the_old_leaf_works_is_caught() {
    let plan = |observed: &Observed, lifetimes: &Lifetimes| {
        let current =
            observed.stored.as_ref().and_then(|stored| stored.as_ref().ok()).map(|stored| stored.current.key_id());
        let served = observed.served.filter(|served| served.signer == current);
        plan(&Observed { served, ..observed.clone() }, lifetimes)
    };
    caught("the old leaf is dropped at once", &Subject { plan, ..right() }, &[PUBLISHED]);
}

#[test]
fn no_backdating_is_caught() {
    let lifetimes = Lifetimes { backdating: SignedDuration::ZERO, ..lifetimes() };
    caught("nothing is backdated", &Subject { lifetimes, ..right() }, &[VERIFIES]);
}

#[test]
fn a_renewal_at_the_last_moment_is_caught() {
    let lifetimes = Lifetimes { leaf_renewal: SignedDuration::from_hours(12), ..lifetimes() };
    caught("leaves are renewed late", &Subject { lifetimes, ..right() }, &[VERIFIES]);
}

#[test]
fn an_authority_without_a_successor_is_caught() {
    let plan = |observed: &Observed, lifetimes: &Lifetimes| {
        let mut plan = plan(observed, lifetimes);
        plan.actions.retain(|action| *action != Action::WriteSecret(SecretChange::AddNext));
        plan
    };
    caught("no next authority", &Subject { plan, ..right() }, &[ROLLS]);
}

#[test]
fn writing_what_is_there_already_is_caught() {
    let plan = |observed: &Observed, lifetimes: &Lifetimes| {
        let mut plan = plan(observed, lifetimes);
        let there = observed.published.iter().find_map(|published| match published {
            Published::Bundle { trusted, .. } if observed.is_writer && !trusted.is_empty() => Some(trusted.clone()),
            _ => None,
        });
        if let (true, Some(there)) = (plan.actions.is_empty(), there) {
            plan.actions.push(Action::PublishBundle(there));
        }
        plan
    };
    caught("writes without need", &Subject { plan, ..right() }, &[QUIET]);
}

#[test]
fn the_wall_clock_as_the_measure_of_five_minutes_is_caught() {
    let plan = |observed: &Observed, lifetimes: &Lifetimes| {
        let wall = observed.now.as_second().unsigned_abs();
        plan(&Observed { uptime: std::time::Duration::from_secs(wall), ..observed.clone() }, lifetimes)
    };
    caught("minutes by the wall clock", &Subject { plan, ..right() }, &[PUBLISHED]);
}
