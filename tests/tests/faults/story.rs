//! The stories of a stream, as its user tells them, and how things must stand after each step. They are the same whatever goes
//! wrong in between.

mod brake;
mod life;
mod scene;
mod trouble;

use std::fmt;
use std::time::Duration;

use crate::observer::Now;
use crate::place::Place;
use crate::rules::UserDid;

/// How long a step may take, a killed controller and an answer that never comes included. The garbage collector learns of a new
/// kind within half a minute.
const STEP: Duration = Duration::from_secs(120);

const STREAM: &str = "orders";
const MANUAL: &str = "orders-again";
const LATER: &str = "orders-once-more";
const TTL: u32 = 86400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Story {
    /// Created, suspended, resumed, backfilled by hand, changed, deleted.
    Life,
    /// Created suspended; a backfill that is suspended, resumed, changed under way, and withdrawn.
    Brake,
    /// A template that goes and comes back, a Job that fails and a stream that recovers.
    Trouble,
}

impl Story {
    pub const ALL: [Self; 3] = [Self::Life, Self::Brake, Self::Trouble];

    /// What its user does, in all.
    pub fn user_did(self) -> UserDid {
        match self {
            Self::Life => life::user_did(),
            Self::Brake => brake::user_did(),
            Self::Trouble => trouble::user_did(),
        }
    }

    /// Tells it to its end; each step begins when the one before has visibly happened.
    pub async fn tell(self, place: &Place<'_>) -> Result<(), String> {
        place.create_templates(Some(TTL)).await?;
        place.templates_are_valid().await.map_err(in_step("templates"))?;
        match self {
            Self::Life => life::tell(place).await?,
            Self::Brake => brake::tell(place).await?,
            Self::Trouble => trouble::tell(place).await?,
        }
        place.delete_stream(STREAM).await?;
        stands(place, "delete", "").await
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Life => "life",
            Self::Brake => "brake",
            Self::Trouble => "trouble",
        })
    }
}

fn in_step(step: &str) -> impl FnOnce(String) -> String {
    move |why| format!("step {step:?}: {why}")
}

async fn stands(place: &Place<'_>, step: &str, expected: &str) -> Result<(), String> {
    let holds = |now: &Now| {
        let scene = scene::scene(now);
        if scene == expected { Ok(()) } else { Err(format!("\n--- expected\n{expected}\n--- seen\n{scene}\n---")) }
    };
    place.observer.until(STEP, "sight of its effect", holds).await.map_err(in_step(step))
}

/// A stream that streams, with the given requests, which are completed; the last one's finished backfill Job is still there.
fn streams(generation: u32, requests: &[&str]) -> String {
    let mut lines = vec![
        "stream Running (Ready for Running), its Job is orders".to_owned(),
        format!("generation {generation} observed"),
    ];
    lines.extend(requests.iter().map(|request| format!("request {request} Completed, completed, written")));
    lines.extend(requests.last().map(|request| format!("Job of {request} complete, goes after {TTL} s")));
    lines.push("Job of the stream unfinished, of the present spec".to_owned());
    lines.push("pod of the stream Running".to_owned());
    lines.join("\n")
}
