//! `make bench`: what the operator costs and how fast it is, beside a bare loop that makes the same writes.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arcane_tests::bench::admission::{self, Admission, AdmissionOptions};
use arcane_tests::bench::{self, Bare, Run, RunOptions, goals, plot, report};
use clap::{Args, Parser, Subcommand};

/// Measures an operator on a control plane of its own, on this machine. Nothing else should happen here meanwhile.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One life of many streams: create, idle, restart, suspend, resume, delete; and the same by a bare loop.
    Run(RunArguments),
    /// What admission adds to the creation of a stream, and what our webhook does by itself.
    Webhook(WebhookArguments),
    /// Two runs side by side, and the second in times of the first.
    Compare {
        /// A file that `run` has written.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
    },
    /// The figures of runs as tables and a plot. Several runs of the same size become one column, by their medians.
    Report {
        /// Files that `run` and `webhook` have written, or directories of such.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Write the tables into this file of Markdown, between its lines `<!-- figures -->` and `<!-- end of figures -->`,
        /// and the plot beside it.
        #[arg(long)]
        into: Option<PathBuf>,
    },
}

#[derive(Args)]
struct WebhookArguments {
    /// How often everything is done.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Creations of a round, 16 at a time.
    #[arg(long, default_value_t = 500)]
    parallel: usize,
    /// Creations of a round, one after the other.
    #[arg(long, default_value_t = 150)]
    alone: usize,
    /// How many templates the webhook knows when it is measured by itself; 0: it isn't.
    #[arg(long, default_value_t = 10_000)]
    templates: usize,
    /// For how many seconds it is measured by itself.
    #[arg(long, default_value_t = 10)]
    reviews_for: u64,
    /// The directory for figures and the webhook's log.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

#[derive(Args)]
struct RunArguments {
    /// Any command that takes KUBECONFIG, for the shell. Without: our controller, as it was built with this program.
    #[arg(long)]
    cmd: Option<String>,
    /// What the run is called.
    #[arg(long, default_value = "arcane")]
    label: String,
    /// How many streams are created at once.
    #[arg(long, default_value_t = 100)]
    streams: usize,
    /// How many classes they are spread over.
    #[arg(long, default_value_t = 1)]
    classes: usize,
    /// How many streams come one by one before.
    #[arg(long, default_value_t = 30)]
    alone: usize,
    /// For how many seconds nobody does anything.
    #[arg(long, default_value_t = 30)]
    idle: u64,
    /// When the bare loop has its turn.
    #[arg(long, value_enum, default_value = "first")]
    bare: Bare,
    /// End after all streams run.
    #[arg(long)]
    only_create: bool,
    /// The directory for figures and the operator's log.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

#[tokio::main]
async fn main() {
    // The client takes every look at an API server that isn't up yet for an error.
    let filter = tracing_subscriber::EnvFilter::new("warn,kube_client=off");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // The only failure is that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = match Arguments::parse().what {
        What::Run(arguments) => run(arguments).await,
        What::Webhook(arguments) => webhook(arguments).await,
        What::Compare { first, second } => compare(&first, &second),
        What::Report { paths, into } => report_of(&paths, into.as_deref()),
    };
    if let Err(error) = ended {
        eprintln!("bench: {error}");
        std::process::exit(1);
    }
}

type Ended<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

async fn run(arguments: RunArguments) -> Ended {
    let out = directory(&arguments.out)?;
    let name = format!("{}-{}-{}", arguments.label, arguments.streams, arguments.classes);
    let (file, number) = unused(&out, &name);
    let options = RunOptions {
        label: arguments.label,
        command: arguments.cmd,
        streams: arguments.streams,
        classes: arguments.classes,
        alone: arguments.alone,
        idle: Duration::from_secs(arguments.idle),
        bare: arguments.bare,
        only_create: arguments.only_create,
        log: out.join(format!("{name}-{number}.log")),
    };
    let figures = bench::run(&options).await?;
    std::fs::write(&file, serde_json::to_string_pretty(&figures)? + "\n")?;
    bench::say(&format!("figures in {}", file.display()));
    print!("{}", report::table(&[figures]));
    Ok(())
}

async fn webhook(arguments: WebhookArguments) -> Ended {
    let out = directory(&arguments.out)?;
    let (file, number) = unused(&out, "webhook");
    let options = AdmissionOptions {
        rounds: arguments.rounds,
        parallel: arguments.parallel,
        alone: arguments.alone,
        templates: arguments.templates,
        reviews_for: Duration::from_secs(arguments.reviews_for),
    };
    let figures = admission::measure(options, &out.join(format!("webhook-{number}.log"))).await?;
    std::fs::write(&file, serde_json::to_string_pretty(&figures)? + "\n")?;
    bench::say(&format!("figures in {}", file.display()));
    print!("{}", report::admission(&[figures]));
    Ok(())
}

fn compare(first: &Path, second: &Path) -> Ended {
    print!("{}", report::compare(&read(first)?, &read(second)?));
    Ok(())
}

/// The directory, made if it isn't there. Its whole path: processes are started elsewhere.
fn directory(out: &Path) -> Ended<PathBuf> {
    std::fs::create_dir_all(out)?;
    Ok(out.canonicalize()?)
}

/// The first file of this name that isn't there yet, with its number.
fn unused(directory: &Path, name: &str) -> (PathBuf, usize) {
    let file = |number: &usize| directory.join(format!("{name}-{number}.json"));
    let number = (1..).find(|number| !file(number).exists()).unwrap_or_default();
    (file(&number), number)
}

fn report_of(paths: &[PathBuf], into: Option<&Path>) -> Ended {
    let (mut runs, mut admissions) = (Vec::new(), Vec::new());
    for file in files_in(paths)? {
        let text = std::fs::read_to_string(&file)?;
        match (serde_json::from_str::<Run>(&text), serde_json::from_str::<Admission>(&text)) {
            (Ok(run), _) => runs.push(run),
            (_, Ok(admission)) => admissions.push(admission),
            (Err(error), _) => return Err(format!("{} is no figures: {error}", file.display()).into()),
        }
    }
    let mut text = report::table(&runs);
    if !admissions.is_empty() {
        text += "\n";
        text += &report::admission(&admissions);
    }
    text += "\n";
    text += &goals::table(&runs, &admissions);
    let Some(into) = into else {
        print!("{text}");
        return Ok(());
    };
    let picture = into.with_extension("svg");
    let name = picture.file_name().unwrap_or_default().display();
    let text = format!("{text}\n![How many streams run, and when]({name})\n");
    let written = report::written_into(&std::fs::read_to_string(into)?, &text)?;
    std::fs::write(into, written)?;
    std::fs::write(picture, plot::of(&runs))?;
    Ok(())
}

fn files_in(paths: &[PathBuf]) -> Ended<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            for entry in std::fs::read_dir(path)? {
                files.push(entry?.path());
            }
        } else {
            files.push(path.clone());
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Ended<Vec<Run>> {
    Ok(vec![serde_json::from_str(&std::fs::read_to_string(file)?)?])
}
