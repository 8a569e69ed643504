//! `kubectl arcane validate`: the webhook's own judgement over a whole set of manifests.
//!
//! The judge is the webhook itself. It asks an API server that is played here ([`world`]): what the set holds is there,
//! and for all else the cluster is asked, or nobody.

mod defaults;
mod finding;
mod judge;
mod manifests;
mod report;
mod world;

use std::path::Path;

use crate::{
    args::{ClusterArgs, ValidateArgs},
    cluster::Cluster,
    ending::{Answer, Ending, Verdict},
};

pub use finding::{Finding, Level, Object, Place};

/// Judges manifests.
///
/// # Errors
/// When a file can't be read; when the cluster can't be reached.
pub async fn run(cluster: &ClusterArgs, args: &ValidateArgs) -> Result<Answer, Ending> {
    let mut findings = Vec::new();
    let mut manifests = Vec::new();
    for (file, text) in manifests::read(&args.files, args.recursive)? {
        let (read, wrong) = manifests::parse(&file, &text);
        manifests.extend(read);
        findings.extend(wrong);
    }
    let connected = if args.offline { None } else { Some(Cluster::connect(cluster).await?) };
    let namespace = match &connected {
        Some(connected) => connected.namespace.clone(),
        None => cluster.namespace.clone().unwrap_or_else(|| "default".to_owned()),
    };
    let outcome = judge::judge(connected.as_ref(), manifests, &namespace, args.missing_references).await?;
    findings.extend(outcome.findings);
    findings.sort_by(|a, b| a.order().cmp(&b.order()));
    let has = |level| findings.iter().any(|finding: &Finding| finding.level == level);
    let verdict = if has(Level::Error) || (args.fail_on_warnings && has(Level::Warning)) {
        Verdict::Bad
    } else if has(Level::Unknown) {
        Verdict::Unknown
    } else {
        Verdict::Good
    };
    let text = report::print(args.output, &findings, &outcome.judged, outcome.passed_over);
    Ok(Answer::of(text).noting(outcome.notes).judged(verdict))
}

/// Whether a file is one of manifests, by its name.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known))
}
