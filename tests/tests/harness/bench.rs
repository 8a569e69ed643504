//! The bench: that it counts what happens. How long anything took is not for a test to judge.

use std::time::Duration;

use arcane_tests::bench::{self, Bare, Run, RunOptions, report};

#[tokio::test(flavor = "multi_thread")]
async fn ten_streams_are_counted_beside_a_bare_loop() {
    let directory = tempfile::tempdir().unwrap();
    let options = RunOptions {
        label: "small".into(),
        command: None,
        streams: 10,
        classes: 1,
        alone: 1,
        idle: Duration::ZERO,
        bare: Bare::Last,
        only_create: true,
        log: directory.path().join("operator.log"),
    };
    let run = bench::run(&options).await.unwrap();

    let create = &run.operator.phases["create"];
    assert_eq!((create.missing, run.operator.doubles), (0, 0), "{create:?}");
    assert_eq!((create.requests.writes, create.requests.kinds["create jobs"]), (80, 20), "{create:?}");
    assert_eq!(create.latency.count, 10);
    assert!(create.processor.operator > 0.0 && run.memory.peak > 1.0, "{run:?}");
    assert_eq!(run.alone.first_job.count, 1);
    let bare = run.bare.as_ref().unwrap();
    let requests = &bare.phases["create"].requests;
    assert_eq!((requests.writes, requests.reads, requests.events), (80, 0, 0), "{requests:?}");
    assert_eq!((bare.phases["create"].missing, bare.doubles), (0, 0));
    assert!(run.part_of_bare("create").is_some());

    // What is written is what is read.
    let read: Run = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
    let table = report::table(&[read]);
    assert!(table.contains("| small, 10 of 1 (1 runs) |") && table.contains("| writes a stream | "), "{table}");
}
