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
use crate::{context::Context, key::Key, reconcile::Next, writes::WriteError};

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
    Ok(match (apply::apply(context, &gathered, &plan).await?, plan.look_again) {
        (Applied::MovedOn, _) => Next::After(MOVED_ON),
        (Applied::All, Some(wait)) => Next::After(wait),
        (Applied::All, None) => Next::Change,
    })
}

enum Decision {
    Nothing,
    Later(Duration),
    Plan(Box<(Gathered, Plan)>),
}

fn decide(context: &Context, key: &StreamKey, pods: Option<Vec<crate::facts::PodFacts>>) -> Decision {
    let mut caches = context.caches();
    if let Some(wait) = caches.wait_for_own_writes(&Key::Stream(key.clone()), Instant::now()) {
        return Decision::Later(wait);
    }
    let Some(mut gathered) = gather::gather(&mut caches, key, context.clock.now()) else { return Decision::Nothing };
    if let Some(pods) = pods {
        if pods.iter().all(|pod| pod.finished) {
            caches.memory_of(key, &gathered.observed.stream.uid).pods_clear = true;
        }
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
