//! A version serves until the next one takes its place, however long what that one needs is away.

use super::*;

/// A service that answers with its word.
fn web(image: &str, word: &str) -> Value {
    let command =
        format!("mkdir -p /srv; echo {word} >/srv/index.html; exec httpd -f -p 8080 -h /srv");
    let service = json!({ "image": image, "init": true, "command": ["sh", "-c", command] });
    let text = json!({ "services": { "web": service } }).to_string();
    json!({ "source": { "inline": text }, "web": { "service": "web", "port": 8080 } })
}

fn version(compose: &Value) -> Option<Digest> {
    Some(Digest::of(compose.to_string().as_bytes()))
}

/// The agent of before is killed, and another one finds what it left.
async fn kill(stage: &mut Stage) {
    let (_stop, run) = stage.running.take().expect("it runs");
    run.abort();
    assert!(run.await.expect_err("ended").is_cancelled());
    stage.board = Arc::default();
}

async fn story(generation: Compose) {
    let Some(bed) = Bed::take(generation) else {
        return;
    };
    let mut registry = Registry::start();
    let before = bed.holdings();
    let [one, two] =
        ["one", "two"].map(|word| (registry.push(&bed, &format!("web:{word}"), word), word));
    let [first, second] = [&one, &two].map(|(image, word)| web(image, word));
    let missing = format!("{}@sha256:{}", registry.name("web"), "0".repeat(64));
    let missing = web(&missing, "three");
    let mut stage = Stage::on(bed);
    stage.start(1, &first, &health());
    let report = stage.ready(1).await;
    assert_eq!(report.serving, version(&first));
    let (url, ids) = (report.url.expect("an address"), stage.ids());

    // What the next version needs is away: the first one serves, and is not taken for ready.
    registry.stop();
    stage.stop(true).await;
    stage.start(2, &second, &health());
    let away = |report: &WorkloadReport| report.cause == Some(WorkloadCause::RegistryDown);
    let report = stage
        .until(|report| away(report) && report.serving == version(&first))
        .await;
    assert_eq!(
        (report.generation, report.workload),
        (Generation(2), version(&second).expect("one"))
    );
    assert_eq!(
        (report.url.as_deref(), report.images.len()),
        (Some(&*url), 1)
    );
    assert_eq!(
        (get(&url).await.as_str(), stage.ids()),
        ("one", ids.clone())
    );

    // The next start of the agent knows what serves, and sees when it does not.
    kill(&mut stage).await;
    stage.start(2, &second, &health());
    let serves = |report: &WorkloadReport| report.serving == version(&first);
    let report = stage.until(|report| away(report) && serves(report)).await;
    assert_eq!(
        (report.url.as_deref(), stage.ids()),
        (Some(&*url), ids.clone())
    );
    stage.bed.docker(&["stop", "--time", "1", &ids["web"]]);
    stage.until(|report| report.serving.is_none()).await;
    stage.bed.docker(&["start", &ids["web"]]);
    stage.until(|report| away(report) && serves(report)).await;

    // One that no registry has changes nothing either, and the way back is no change at all.
    registry.restart();
    stage.stop(true).await;
    stage.start(3, &missing, &health());
    let lacks = |report: &WorkloadReport| report.cause == Some(WorkloadCause::ImageMissing);
    stage.until(|report| lacks(report) && serves(report)).await;
    stage.stop(true).await;
    stage.start(4, &first, &health());
    let report = stage.ready(4).await;
    assert_eq!(
        (report.message.as_str(), stage.ids()),
        ("kept web", ids.clone())
    );

    // What is there takes its place, and the first one is taken back before.
    stage.stop(true).await;
    stage.start(5, &second, &health());
    let is_fifth = |report: &WorkloadReport| report.generation == Generation(5);
    stage
        .until(|report| is_fifth(report) && report.serving.is_none())
        .await;
    let report = stage.ready(5).await;
    assert_eq!(
        (report.serving, report.message.as_str()),
        (version(&second), "recreated web")
    );
    assert_ne!(stage.ids(), ids);
    assert_eq!(get(&url).await, "two");

    stage.stop(false).await;
    stage
        .bed
        .docker(&["image", "rm", "--force", &one.0, &two.0]);
    assert_eq!(stage.bed.holdings(), before);
    assert!(!stage.traces().exists());
}

#[tokio::test]
async fn a_version_serves_until_the_next_one_is_fetched_with_the_second_generation() {
    story(Compose::Second).await;
}

#[tokio::test]
async fn a_version_serves_until_the_next_one_is_fetched_with_the_first_generation() {
    story(Compose::First).await;
}
