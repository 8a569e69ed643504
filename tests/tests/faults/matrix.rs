//! Each story is told again and again, each time with one fault at one place of it: the controller is killed at each single write,
//! before it reaches the API server and after that has done it; each write goes wrong in each way; each event of each watch does;
//! the controller is started again and sees a past. Everything ends as if nothing had happened, and no rule is broken on the way.
//!
//! A fault that was not seen to happen doesn't count.

mod cell;
mod results;
mod telling;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use arcane_tests::{Fixture, reliability};
use futures::future::join_all;

use self::cell::{Cell, Happens, Model};
use self::results::Results;
use self::telling::{list, tell};
use crate::story::Story;

/// How many controllers work at a time, each with a namespace and a proxy of its own. They mostly wait for the Job controller.
const LANES: usize = 8;

/// `all`: every cell, however long it takes. A number: so many of them. Else those that can be begun in time, but for such as take
/// a minute each.
const VARIABLE: &str = "ARCANE_FAULTS";
const IN_TIME: Duration = Duration::from_secs(60);
/// How often a cell is tried whose fault does not happen.
const TRIES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_once_everything_ends_as_if_nothing_had() {
    let started = Instant::now();
    let lanes = std::env::var("ARCANE_FAULTS_LANES").ok().and_then(|lanes| lanes.parse().ok()).unwrap_or(LANES);
    let only = std::env::var("ARCANE_FAULTS_ONLY").unwrap_or_default();
    let fixture = crate::a_fixture().await;
    let models = models(&fixture).await;
    let mut all: Vec<Cell> = models.iter().flat_map(|(story, model)| cell::cells(*story, model)).collect();
    all.retain(|cell| cell.to_string().contains(&only));

    let wish = std::env::var(VARIABLE).ok();
    let is_whole = wish.as_deref() == Some("all");
    let results = Mutex::new(if is_whole { Results::so_far() } else { Results::of_now() });
    let mut left = all.clone();
    left.retain(|cell| !results.lock().unwrap().has(&cell.to_string()));
    if wish.is_none() {
        left.retain(|cell| !cell.takes_long());
    }
    cell::shuffle(&mut left);
    left.truncate(wish.as_deref().and_then(|wish| wish.parse().ok()).unwrap_or(left.len()));
    let (total, many) = (all.len(), left.len());
    let before = if is_whole { total - many } else { 0 };
    left.reverse();
    let left = Mutex::new(left);
    let begun = Instant::now();
    let failed = Mutex::new(Vec::new());
    join_all((0..lanes).map(|_| async {
        while wish.is_some() || begun.elapsed() < IN_TIME {
            let Some(cell) = left.lock().unwrap().pop() else { break };
            let told = try_cell(&fixture, cell, &models[&cell.story]).await;
            let done = {
                let mut results = results.lock().unwrap();
                results.add(&cell.to_string(), &told);
                if let Told::Breach(why) = &told {
                    crate::say(&format!("{cell}: {why}"));
                    failed.lock().unwrap().push(format!("{cell}: {why}"));
                }
                results.of_this_run()
            };
            if wish.is_some() && done % 20 == 0 {
                let to_go = begun.elapsed().div_f64(done as f64).mul_f64(many.saturating_sub(done) as f64);
                let failed = failed.lock().unwrap().len();
                crate::say(&format!("{} of {total} cells, {failed} failed, about {to_go:.0?} to go", before + done));
            }
        }
    }))
    .await;

    let results = results.into_inner().unwrap();
    crate::say(&format!(
        "{} cells run of {total}, {} failed, {} whose fault did not happen, {:.0?} in all, a story {} (median)",
        results.of_this_run(),
        failed.lock().unwrap().len(),
        results.did_not_happen(),
        started.elapsed(),
        results.median_time(),
    ));
    if is_whole {
        let kinds: BTreeMap<String, Happens> = all.iter().map(|cell| (cell.to_string(), cell.happens)).collect();
        for (story, model) in &models {
            for (kind, counted) in results.counted(*story, |cell| kinds.get(cell).copied()) {
                let share = format!("of {} cells", cell::number(*story, model, kind));
                reliability::record(&format!("real controller, story \"{story}\": {kind}"), &share, &counted);
            }
        }
    }
    fixture.stop().await;
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// What each story comes to without a fault, told twice.
async fn models(fixture: &Fixture) -> BTreeMap<Story, Model> {
    let tellings = Story::ALL.into_iter().flat_map(|story| [story, story]).map(|story| async move {
        let told = tell(fixture, story, None).await;
        told.unwrap_or_else(|wrong| panic!("story {story} without a fault: {wrong}"))
    });
    let tellings = join_all(tellings).await;
    let mut models = BTreeMap::new();
    for (story, both) in Story::ALL.into_iter().zip(tellings.chunks(2)) {
        let model = Model::of(both);
        crate::say(&format!(
            "story {story} without a fault: {:.1?}, {} writes of the controller, events {:?}, phases {}",
            both[0].took,
            model.writes,
            model.events,
            model.phases.join(" ")
        ));
        if std::env::var_os("ARCANE_FAULTS_WRITES").is_some() {
            crate::say(&list(&both[0].writes));
        }
        models.insert(story, model);
    }
    models
}

/// What came of a cell.
pub enum Told {
    /// All is as it should be; it took so long.
    Kept(Duration),
    /// The fault did not happen.
    Nothing,
    /// A rule is broken, or the end is another.
    Breach(String),
}

async fn try_cell(fixture: &Fixture, cell: Cell, model: &Model) -> Told {
    for _ in 0..TRIES {
        let telling = match tell(fixture, cell.story, Some(cell)).await {
            Ok(telling) => telling,
            Err(why) => return Told::Breach(why),
        };
        if !telling.happened {
            continue;
        }
        if cell.keeps_phases() && telling.phases != model.phases {
            let (phases, writes) = (&telling.phases, list(&telling.writes));
            return Told::Breach(format!("other phases than without a fault: {phases:?}\n{writes}"));
        }
        if cell.keeps_jobs() && telling.roles != model.roles {
            let (roles, writes) = (&telling.roles, list(&telling.writes));
            return Told::Breach(format!("other Jobs than without a fault: {roles:?}\n{writes}"));
        }
        return Told::Kept(telling.took);
    }
    Told::Nothing
}
