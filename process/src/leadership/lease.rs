//! The Lease object: reading its facts, and writing our name into it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::api::ObjectMeta;

use super::plan::LeaseFacts;

/// What matters of the Lease.
pub(super) fn facts(lease: &Lease) -> LeaseFacts {
    let spec = lease.spec.as_ref();
    LeaseFacts {
        // Released is what client-go writes as an empty name, and others as none.
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        duration: spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        renew_time: spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
        resource_version: lease.metadata.resource_version.clone(),
    }
}

/// A new Lease that we hold.
pub(super) fn created(name: &str, identity: &str, duration: Duration, now: Timestamp) -> Lease {
    Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: Some(whole_seconds(duration)),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        }),
    }
}

/// A Lease with an owner.
pub(super) fn owned(mut lease: Lease, owner: Option<OwnerReference>) -> Lease {
    lease.metadata.owner_references = owner.map(|owner| vec![owner]);
    lease
}

/// The Lease with us as its new holder. All that isn't about the holder stays.
pub(super) fn taken_over(lease: &Lease, identity: &str, duration: Duration, now: Timestamp) -> Lease {
    edited(lease, |spec| {
        spec.holder_identity = Some(identity.to_owned());
        spec.lease_duration_seconds = Some(whole_seconds(duration));
        spec.acquire_time = Some(MicroTime(now));
        spec.renew_time = Some(MicroTime(now));
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
    })
}

/// The Lease that we hold, renewed.
pub(super) fn renewed(lease: &Lease, duration: Duration, now: Timestamp) -> Lease {
    edited(lease, |spec| {
        spec.lease_duration_seconds = Some(whole_seconds(duration));
        spec.renew_time = Some(MicroTime(now));
    })
}

/// The Lease without a holder: whoever sees it may take it at once.
pub(super) fn released(lease: &Lease, now: Timestamp) -> Lease {
    edited(lease, |spec| {
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(now));
    })
}

fn edited(lease: &Lease, edit: impl FnOnce(&mut LeaseSpec)) -> Lease {
    let mut lease = lease.clone();
    edit(lease.spec.get_or_insert_default());
    lease
}

/// Rounded up: others must never wait for less than what we rely on.
fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    i32::try_from(seconds).unwrap_or(i32::MAX).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn spec(lease: &Lease) -> &LeaseSpec {
        lease.spec.as_ref().unwrap()
    }

    #[test]
    fn an_empty_holder_or_an_empty_lease_is_nobodys() {
        let mut lease = created("l", "me", Duration::from_secs(15), Timestamp::UNIX_EPOCH);
        assert_eq!(facts(&lease).holder.as_deref(), Some("me"));
        lease.spec.as_mut().unwrap().holder_identity = Some(String::new());
        assert_eq!(facts(&lease).holder, None);
        assert_eq!(facts(&Lease::default()).holder, None);
    }

    #[test]
    fn a_duration_that_makes_no_sense_is_none() {
        let mut lease = created("l", "me", Duration::from_secs(15), Timestamp::UNIX_EPOCH);
        for senseless in [-1, 0] {
            lease.spec.as_mut().unwrap().lease_duration_seconds = Some(senseless);
            assert_eq!(facts(&lease).duration, None);
        }
    }

    #[test]
    fn durations_are_rounded_up() {
        for (ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (15_000, 15)] {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }

    #[test]
    fn each_edit_changes_only_what_it_is_about() {
        let later = Timestamp::from_second(100).unwrap();
        let mut first = created("l", "other", Duration::from_secs(15), Timestamp::UNIX_EPOCH);
        first.metadata.resource_version = Some("3".to_owned());
        first.metadata.labels = Some([("by".to_owned(), "somebody".to_owned())].into());

        let ours = taken_over(&first, "me", Duration::from_secs(20), later);
        assert_eq!(ours.metadata, first.metadata);
        assert_eq!(spec(&ours).holder_identity.as_deref(), Some("me"));
        assert_eq!(spec(&ours).lease_duration_seconds, Some(20));
        assert_eq!(spec(&ours).lease_transitions, Some(1));
        assert_eq!(spec(&ours).acquire_time, Some(MicroTime(later)));

        let again = renewed(&ours, Duration::from_secs(20), Timestamp::MAX);
        assert_eq!(spec(&again).acquire_time, Some(MicroTime(later)));
        assert_eq!(spec(&again).renew_time, Some(MicroTime(Timestamp::MAX)));
        assert_eq!(spec(&again).lease_transitions, Some(1));

        let free = released(&again, later);
        assert_eq!(facts(&free).holder, None);
        assert_eq!(free.metadata, first.metadata);
    }
}
