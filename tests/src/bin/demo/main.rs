//! `make demo`: the users guide's streams on a real Kubernetes control plane, step by step, for a person to watch.

mod screen;
mod seen;
mod stage;
mod story;
mod text;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arcane_tests::test_cluster::KUBECONFIG_VARIABLE;
use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::screen::{Screen, Unseen};
use crate::stage::Stage;

/// Shows the life of Arcane's streams on a real Kubernetes control plane.
///
/// The control plane is one of its own on this machine, unless ARCANE_TEST_KUBECONFIG names another cluster, which is left as it
/// was found. At a terminal everything stays up until Ctrl-C. The exit status is 0 only if every step was seen to happen.
#[derive(Parser)]
#[command(name = "demo")]
struct Args {}

#[tokio::main]
async fn main() -> ExitCode {
    let Args {} = Args::parse();
    match demo().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// By Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;

async fn demo() -> std::io::Result<ExitCode> {
    // So that the commands can be typed as they are shown: at the top of the repository.
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let mut signals = Signals::listen()?;
    let screen = Screen::of_stdout();
    let mut stage = None;
    let told = tokio::select! {
        biased;
        () = signals.any() => None,
        told = show(&screen, &mut stage) => Some(told),
    };
    let told = match told {
        // A Ctrl-C reaches kubectl, too, which may have been quicker to fail than we to hear of it.
        Some(Err(_)) if signals.soon().await => None,
        told => told,
    };
    let code = match (&told, &stage) {
        (Some(Ok(())), Some(stage)) => {
            if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
                what_next(&screen, stage);
                signals.any().await;
            }
            0
        }
        (Some(Ok(())), None) | (None, _) => INTERRUPTED,
        (Some(Err(unseen)), stage) => {
            tell_failure(&screen, unseen, stage.as_ref());
            1
        }
    };
    screen.interrupted();
    let Some(stage) = stage else { return Ok(ExitCode::from(code)) };
    let cleared = tokio::select! {
        cleared = clear(&screen, stage) => cleared,
        () = signals.any() => Err(unseen_end()), // a second Ctrl-C
    };
    Ok(match cleared {
        Ok(()) => ExitCode::from(code),
        Err(unseen) => {
            screen.plain(&unseen.seen);
            ExitCode::from(code.max(1))
        }
    })
}

async fn show(screen: &Screen, stage: &mut Option<Stage>) -> Result<(), Unseen> {
    let started = Instant::now();
    screen.heading("Arcane on a real Kubernetes API server");
    let stage = stage.insert(Stage::open(screen).await?);
    stage.set_up(screen).await?;
    let (ready, before) = (Instant::now(), screen.seen());
    story::tell(stage, screen).await?;
    screen.heading(&format!("All {} steps were seen to happen", story::STEPS));
    screen.note(&format!(
        "{} checks in {}, after {} to set things up. Only the pods were simulated.",
        screen.seen() - before,
        screen.time(ready.elapsed()),
        screen.time(ready - started),
    ));
    Ok(())
}

fn what_next(screen: &Screen, stage: &Stage) {
    screen.heading("Everything is still up. In another terminal:");
    screen.suggestion("use this cluster", &format!("export KUBECONFIG={}", stage.cluster.kubeconfig().display()));
    let binary = stage.cluster.kubectl_binary();
    if let (false, Some(directory)) = (is_in_path("kubectl"), binary.parent()) {
        screen.suggestion("and its kubectl", &format!("export PATH={}:$PATH", directory.display()));
    }
    let stream = "sqlserverchangetrackingstream my-database-stream -n data-streaming";
    screen.suggestion("all that is Arcane's", "kubectl get arcane -n data-streaming");
    screen.suggestion("what became of a stream: conditions and events", &format!("kubectl describe {stream}"));
    if stage.has_webhook() {
        screen.suggestion(
            "refer to a template that is not there",
            &format!(
                "kubectl patch {stream} --type merge -p '{{\"spec\":{{\"jobTemplateRef\":{{\"name\":\"nowhere\"}}}}}}'"
            ),
        );
    }
    screen.suggestion("change its sourceDatabase, and see its Job replaced", &format!("kubectl edit {stream}"));
    screen.suggestion(
        "let the pods of its template fail from now on, and restart it: phase Failed",
        "kubectl patch streamingjobtemplate sqlserver-stream-template -n data-streaming --type merge \
         -p '{\"spec\":{\"backoffLimit\":0,\"template\":{\"metadata\":{\"annotations\":\
         {\"simulated-kubelet/behaviour\":\"exit 3 after 1s\"}}}}}'",
    );
    screen.suggestion("", &format!("kubectl annotate {stream} arcane/restarted-at=\"$(date)\" --overwrite"));
    screen.suggestion("what the controller says", &format!("tail -f {}", stage.log().display()));
    screen.heading("Ctrl-C ends it and cleans up.");
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn tell_failure(screen: &Screen, unseen: &Unseen, stage: Option<&Stage>) {
    screen.heading("This was not seen to happen");
    screen.plain(&unseen.to_string());
    let tail = stage.map(Stage::log_tail).unwrap_or_default();
    if !tail.is_empty() && !unseen.seen.contains(tail.trim()) {
        screen.heading("The end of the controller's log");
        screen.plain(&tail);
    }
}

async fn clear(screen: &Screen, stage: Stage) -> Result<(), Unseen> {
    let label = match stage.cluster.control_plane() {
        Some(_) => "everything ended and cleaned up",
        None => "everything removed from the cluster that this run had made",
    };
    screen.heading("Goodbye");
    screen.check(label, stage.clear()).await
}

fn unseen_end() -> Unseen {
    let seen = format!("not waited for; on a cluster of {KUBECONFIG_VARIABLE} something may be left");
    Unseen { expected: "the end".to_owned(), seen }
}

/// What asks us to end.
struct Signals {
    all: [Signal; 3],
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let listen = |kind| signal(kind);
        Ok(Self {
            all: [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?],
        })
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.all;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// Whether one arrives in a moment.
    async fn soon(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.any()).await.is_ok()
    }
}
