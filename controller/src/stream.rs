//! Streams of every plugin kind: gather, plan, apply.

pub mod action;
mod apply;
mod doubt;
pub mod gather;
pub mod observed;
pub mod plan;
mod pods;
pub mod status;
pub mod status_schema;

use std::time::{Duration, Instant};

use arcane_common::identity::StreamKey;

pub use action::{Action, Plan};
pub use apply::write_request_status;
pub use observed::Observed;
pub use plan::{LAST_RUN, UP_TO_DATE, plan};

use self::{apply::Applied, gather::Gathered, observed::Pods};
use crate::{
    caches::Caches,
    context::Context,
    facts::{PodFacts, StreamFacts},
    key::Key,
    reconcile::Next,
    writes::WriteError,
};

/// A world that has moved on is looked at again at the latest after this; usually a watch is quicker.
pub const MOVED_ON: Duration = Duration::from_secs(1);

/// Brings one stream a step further.
pub async fn reconcile(context: &Context, key: &StreamKey) -> Result<Next, WriteError> {
    if context.caches().is_in_doubt(key) {
        if !doubt::is_over(context, key).await? {
            return Ok(Next::After(MOVED_ON));
        }
        context.caches().no_longer_in_doubt(key);
    }
    let (gathered, plan) = match decide(context, key, None) {
        Decision::Nothing => return Ok(Next::Change),
        Decision::Later(wait) => return Ok(Next::After(wait)),
        Decision::Plan(decided) => *decided,
    };
    let (gathered, plan) = if plan.needs_pods {
        let pods = pods::list(context, &gathered.observed.stream).await?;
        match decide(context, key, Some(pods)) {
            Decision::Nothing => return Ok(Next::Change),
            Decision::Later(wait) => return Ok(Next::After(wait)),
            Decision::Plan(decided) => *decided,
        }
    } else {
        (gathered, plan)
    };
    let (applied, ()) = tokio::join!(apply::apply(context, &gathered, &plan), look_ahead(context, &gathered, &plan));
    Ok(match (applied?, plan.look_again) {
        (Applied::MovedOn, _) => Next::After(MOVED_ON),
        (Applied::All, Some(wait)) => Next::After(wait),
        (Applied::All, None) => Next::Change,
    })
}

/// The first Job of a new stream needs a list of its pods: it is made while its first request is created. Where something of it
/// is there already, that has to go before, and the pods are listed after that.
async fn look_ahead(context: &Context, gathered: &Gathered, plan: &Plan) {
    let Observed { stream, jobs, cron_jobs, runs, pods, .. } = &gathered.observed;
    let is_new = plan.actions.iter().any(|action| matches!(action, Action::CreateInitialRequest { .. }));
    if !is_new || *pods != Pods::Unknown || !(jobs.is_empty() && cron_jobs.is_empty() && runs.is_empty()) {
        return;
    }
    // Else they are listed when they are needed, and that tells what is wrong.
    let Ok(pods) = pods::list(context, stream).await else { return };
    let mut caches = context.caches();
    if caches.has_nothing_of(&stream.key) {
        see_pods(&mut caches, stream, &pods);
    }
}

fn see_pods(caches: &mut Caches, stream: &StreamFacts, pods: &[PodFacts]) {
    if pods.iter().all(|pod| pod.finished) {
        caches.memory_of(&stream.key, &stream.uid).pods_clear = true;
    }
}

enum Decision {
    Nothing,
    Later(Duration),
    Plan(Box<(Gathered, Plan)>),
}

fn decide(context: &Context, key: &StreamKey, pods: Option<Vec<PodFacts>>) -> Decision {
    let mut caches = context.caches();
    if let Some(wait) = caches.wait_for_own_writes(&Key::Stream(key.clone()), Instant::now()) {
        return Decision::Later(wait);
    }
    let Some(mut gathered) = gather::gather(&mut caches, key, context.clock.now()) else { return Decision::Nothing };
    if let Some(pods) = pods {
        see_pods(&mut caches, &gathered.observed.stream, &pods);
        gathered.observed.pods = Pods::Listed(pods);
    }
    let plan = plan(&gathered.observed);
    if let Ok(asked) = &gathered.observed.asked
        && let Some(turn) = caches.rolls.get_mut(&asked.class).and_then(|roll| roll.turns.get_mut(key))
    {
        let is_it = |action: &Action| matches!(action, Action::DeleteJob { uid, .. } if *uid == turn.job);
        turn.taken = plan.actions.iter().any(is_it);
    }
    Decision::Plan(Box::new((gathered, plan)))
}
