//! §3.9: Jobs that aren't ours are never touched.

use arcane_controller::stream::action::{Action, Role};

use crate::{made, reading::*};

/// By name and UID: what is deleted, stamped or let expire is the very Job that was seen.
pub(super) fn only_own_jobs_are_touched(trial: &Trial<'_>) -> bool {
    trial.actions().iter().all(|action| match action {
        Action::DeleteJob { name, uid, .. }
        | Action::StampJob { name, uid, .. }
        | Action::SetJobTtl { name, uid, .. } => {
            trial.own_jobs().any(|job| job.facts.uid == *uid && job.facts.name.name == *name)
        }
        _ => true,
    })
}

pub(super) fn a_job_is_deleted_once(trial: &Trial<'_>) -> bool {
    trial.deleted().enumerate().all(|(place, uid)| {
        let is_new = trial.own_jobs().any(|job| job.facts.uid == *uid && job.facts.deleting_since.is_none());
        is_new && !trial.deleted().skip(place + 1).any(|other| other == uid)
    })
}

/// §4: "`<stream>`; backfill `<stream>-backfill`", and a suffix where that is somebody else's.
pub(super) fn a_job_is_named_after_its_stream_and_role(trial: &Trial<'_>) -> bool {
    trial.created().is_none_or(|(name, role)| {
        let plain = match role {
            Role::Streaming => made::STREAM.to_owned(),
            Role::Backfill { .. } => format!("{}-backfill", made::STREAM),
        };
        if trial.observed.taken_names.contains(&plain) { name.starts_with(&plain) } else { name == plain }
    })
}

pub(super) fn a_taken_name_is_never_used(trial: &Trial<'_>) -> bool {
    trial.created().is_none_or(|(name, _)| !trial.observed.taken_names.contains(name))
}
