//! A reconciler that says what a test wants, and an agent that it has launched.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use easyenclave_attestation::simulated::Platform;
use easyenclave_attestation::{QuoteView, ita_report_data, report_data};
use easyenclave_processes::{labels, list};
use easyenclave_schemas::evidence::{Evidence, ItaNonce, Verdict};
use easyenclave_schemas::signature::{
    Keypair, PublicKey, Session, SessionOffer, Signs, Verified, Verifies, is_in_session,
    sign_request, sign_response, verify_request, verify_response,
};
use easyenclave_schemas::wire::{
    AgentConfig, AgentHealth, AttestRequest, CallRefusal, Challenge, ErrorBody, HeartbeatRequest,
    HeartbeatResponse, ItaChallenge, PlatformConfig, RegisterRequest, RegisterResponse,
    WorkloadReport, routes,
};
use easyenclave_schemas::{AgentId, Digest, Epoch, Generation, OrderId, Secret, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(120);

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the end"))
}

/// A text that no other test uses, nor another run of this one.
pub(crate) fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{}x{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// What the reconciler says next, and what it was told.
pub(crate) struct Script {
    /// Codes of refusals, one for each registration; accepted when there is none.
    pub(crate) refusals: Vec<(StatusCode, &'static str)>,
    /// Nobody answers heartbeats while this is set.
    pub(crate) down: bool,
    /// So many heartbeats come to a reconciler that does not know the agent; a registration ends that.
    pub(crate) forgets: u32,
    pub(crate) heartbeat_millis: u64,
    pub(crate) epoch: Epoch,
    pub(crate) trusted_until: Option<Timestamp>,
    /// Given out with the next heartbeats, until fresh evidence has come.
    pub(crate) challenge: Option<Challenge>,
    pub(crate) challenges: u32,
    pub(crate) registrations: Vec<RegisterRequest>,
    pub(crate) beats: Vec<HeartbeatRequest>,
    pub(crate) evidence: Vec<AttestRequest>,
    /// Goes with every challenge.
    pub(crate) ita: Option<ItaChallenge>,
    /// Whether agents that ask for a session get one.
    pub(crate) grants: bool,
    /// The session that the agent got, until it is forgotten.
    pub(crate) session: Option<Session>,
    /// So many heartbeats in a session are taken, and whoever stands between gives another answer.
    pub(crate) replaced: u32,
    /// The numbers of heartbeats that came in a session.
    pub(crate) in_session: Vec<u64>,
    agent_key: Option<PublicKey>,
}

impl Script {
    /// Trusts agents for so long from now on.
    pub(crate) fn trust_for(&mut self, life: Duration) {
        self.trusted_until = Some(verdict().accepted_at.plus(life));
    }

    fn verdict(&self) -> Verdict {
        let verdict = verdict();
        Verdict {
            trusted_until: self.trusted_until.unwrap_or(verdict.trusted_until),
            ..verdict
        }
    }
}

struct Shared {
    script: Mutex<Script>,
    /// Signs the answers.
    signer: Keypair,
}

pub(crate) struct Reconciler {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Reconciler {
    /// A reconciler that signs with this key.
    pub(crate) async fn start(signer: Keypair) -> Self {
        let script = Script {
            refusals: Vec::new(),
            down: false,
            forgets: 0,
            heartbeat_millis: 50,
            epoch: Epoch(2),
            trusted_until: Some(verdict().trusted_until),
            challenge: None,
            challenges: 0,
            registrations: Vec::new(),
            beats: Vec::new(),
            evidence: Vec::new(),
            ita: None,
            grants: false,
            session: None,
            replaced: 0,
            in_session: Vec::new(),
            agent_key: None,
        };
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            signer,
        });
        let router = Router::new()
            .route(routes::CHALLENGE, get(challenge))
            .route(routes::REGISTER, post(register))
            .route("/api/v1/agents/{agent}/heartbeat", post(heartbeat))
            .route("/api/v1/agents/{agent}/attest", post(attest))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let server =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self {
            url,
            shared,
            server,
        }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().expect("no panic holds it")
    }

    /// Waits until the reconciler was told what is looked for.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&Script) -> Option<T>) -> T {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(found) = find(&self.script()) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}",
                self.script().beats.last()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Reply = (StatusCode, HeaderMap, Vec<u8>);

fn refuse(status: StatusCode, code: &str) -> Reply {
    let body = serde_json::to_vec(&ErrorBody::new(code, "as the test says")).expect("plain data");
    (status, HeaderMap::new(), body)
}

fn sign<T: Serialize>(key: &impl Signs, answer: &T, request: &Verified) -> Reply {
    let body = serde_json::to_vec(answer).expect("plain data");
    let signed = sign_response(key, 200, &body, request, now());
    (StatusCode::OK, map(signed), body)
}

fn map(headers: [(&'static str, String); 3]) -> HeaderMap {
    let pair = |(name, value): (&'static str, String)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(&value).expect("ASCII"),
        )
    };
    headers.into_iter().map(pair).collect()
}

fn verified(key: &impl Verifies, path: &str, headers: &HeaderMap, body: &[u8]) -> Verified {
    verify_request(key, "POST", path, body, headers, now(), WINDOW).expect("signed by the agent")
}

fn bound(evidence: &Evidence, nonce: &str, ita: Option<&ItaNonce>, key: &PublicKey) {
    let mut bytes = [0; 32];
    hex::decode_to_slice(nonce, &mut bytes).expect("a nonce");
    let expected = match ita {
        None => report_data(&bytes, key.as_bytes()),
        Some(nonce) => ita_report_data(nonce, key.as_bytes()).expect("base64"),
    };
    let quote = QuoteView::parse(evidence.quote.as_bytes()).expect("a quote");
    assert_eq!(quote.report_data(), expected);
}

pub(crate) fn nonce(number: u32) -> Challenge {
    let nonce = Digest::of(&number.to_le_bytes()).to_string();
    Challenge {
        nonce,
        ita: None,
        expires_in_seconds: 300,
    }
}

async fn challenge(State(shared): State<Arc<Shared>>) -> axum::Json<Challenge> {
    let mut script = shared.script.lock().expect("no panic holds it");
    script.challenges += 1;
    axum::Json(Challenge {
        ita: script.ita.clone(),
        ..nonce(script.challenges)
    })
}

async fn register(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Reply {
    let request: RegisterRequest = serde_json::from_slice(&body).expect("a registration");
    let key: PublicKey = request.public_key.parse().expect("a key");
    let verified = verified(&key, routes::REGISTER, &headers, &body);
    let ita = request.ita_nonce.as_ref();
    bound(&request.evidence, &request.nonce, ita, &key);
    let mut script = shared.script.lock().expect("no panic holds it");
    let agent_id = request.order_id.agent();
    // One that was started again answers at another address, and counts its heartbeats anew. What the one before has sent last
    // may have come after it ended.
    let before = script.registrations.last().map(|last| &last.address);
    if before.is_some_and(|before| *before != request.address) {
        script.beats.clear();
    }
    script.registrations.push(request);
    script.agent_key = Some(key);
    if !script.refusals.is_empty() {
        let (status, code) = script.refusals.remove(0);
        return refuse(status, code);
    }
    script.forgets = 0;
    let (heartbeat_millis, epoch) = (script.heartbeat_millis, script.epoch);
    let answer = RegisterResponse {
        agent_id,
        heartbeat_millis,
        epoch,
        verdict: script.verdict(),
    };
    sign(&shared.signer, &answer, &verified)
}

async fn heartbeat(
    State(shared): State<Arc<Shared>>,
    axum::extract::Path(agent): axum::extract::Path<AgentId>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let mut script = shared.script.lock().expect("no panic holds it");
    if script.down {
        return refuse(StatusCode::BAD_GATEWAY, "");
    }
    if script.forgets > 0 {
        script.forgets -= 1;
        return refuse(StatusCode::NOT_FOUND, "agent_not_found");
    }
    let key = script.agent_key.expect("it has registered");
    let path = routes::heartbeat(&agent);
    let session = script.session.clone();
    let session = session.filter(|_| is_in_session(&headers));
    let verified = match &session {
        Some(session) => verified(session, &path, &headers, &body),
        None if is_in_session(&headers) => {
            return refuse(StatusCode::UNAUTHORIZED, "session_unknown");
        }
        None => verified(&key, &path, &headers, &body),
    };
    let beat: HeartbeatRequest = serde_json::from_slice(&body).expect("a heartbeat");
    let last = script.beats.last().map_or(0, |beat| beat.sequence);
    assert!(beat.sequence > last, "{} after {last}", beat.sequence);
    if session.is_some() {
        script.in_session.push(beat.sequence);
    }
    let half = beat
        .session
        .as_ref()
        .filter(|_| script.grants)
        .map(|asked| agree(&mut script, asked, &key));
    script.beats.push(beat);
    if session.is_some() && script.replaced > 0 {
        script.replaced -= 1;
        return refuse(StatusCode::FORBIDDEN, "");
    }
    let answer = HeartbeatResponse {
        epoch: script.epoch,
        heartbeat_millis: script.heartbeat_millis,
        challenge: script.challenge.clone(),
        trusted_until: script.trusted_until,
        session: half,
        tunnel: None,
    };
    match &session {
        Some(session) => sign(session, &answer, &verified),
        None => sign(&shared.signer, &answer, &verified),
    }
}

fn agree(script: &mut Script, asked: &str, agent: &PublicKey) -> String {
    let offer = SessionOffer::new().expect("randomness");
    let half = offer.public().to_owned();
    script.session = Some(offer.answered(asked, agent).expect("a session"));
    half
}

async fn attest(
    State(shared): State<Arc<Shared>>,
    axum::extract::Path(agent): axum::extract::Path<AgentId>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let mut script = shared.script.lock().expect("no panic holds it");
    let key = script.agent_key.expect("it has registered");
    let verified = verified(&key, &routes::attest(&agent), &headers, &body);
    let request: AttestRequest = serde_json::from_slice(&body).expect("evidence");
    let ita = request.ita_nonce.as_ref();
    bound(&request.evidence, &request.nonce, ita, &key);
    script.evidence.push(request);
    script.challenge = None;
    sign(&shared.signer, &script.verdict(), &verified)
}

/// What a reconciler says of an agent that it trusts.
pub(crate) fn verdict() -> Verdict {
    let digest = "ab".repeat(48);
    let verdict = json!({
        "acceptedAt": "2026-01-31T12:00:00Z", "trustedUntil": "2026-02-01T12:00:00Z",
        "trustRoot": digest, "simulated": true, "tcbStatus": "UpToDate", "advisoryIds": [],
        "mrtd": digest, "rtmrs": [digest, digest, digest, digest], "mrseam": digest,
        "mrconfigid": digest, "fmspc": "ab".repeat(6), "policyDigest": "ab".repeat(32),
        "evidenceDigest": "ab".repeat(32), "collateralDigest": "ab".repeat(32),
    });
    serde_json::from_value(verdict).expect("a verdict")
}

/// An agent with its reconciler, in this process.
pub(crate) struct Agent {
    pub(crate) reconciler: Reconciler,
    pub(crate) keypair: Keypair,
    pub(crate) config: AgentConfig,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<anyhow::Result<()>>,
    generations: u64,
    _folder: tempfile::TempDir,
}

/// A configuration for an agent in this folder.
pub(crate) fn config(url: &str, key: &PublicKey, folder: &std::path::Path) -> AgentConfig {
    let platform = folder.join("platform");
    Platform::open_or_create(&platform, now()).expect("a simulated platform");
    AgentConfig {
        fleet_id: "demo".parse().expect("a name"),
        order_id: OrderId::new(format!("tiny-{}", unique())).expect("a name"),
        bootstrap_token: Secret::new("token".into()),
        reconciler_url: url.into(),
        reconciler_key: key.to_string(),
        datacenter: "local".parse().expect("a name"),
        node_size: "tiny".parse().expect("a name"),
        platform: PlatformConfig::Simulated {
            dir: Platform::guest_dir(&platform),
            image: None,
        },
        trust_authority: None,
        data_dir: folder.join("state"),
        worker_id: "worker-1".parse().expect("a name"),
        listen: None,
        address: None,
        workload: None,
    }
}

/// The same key once more.
pub(crate) fn copy(key: &Keypair) -> Keypair {
    Keypair::from_pkcs8(key.pkcs8().reveal()).expect("a key")
}

impl Agent {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// An agent whose reconciler says this.
    pub(crate) async fn with(change: impl FnOnce(&mut Script)) -> Self {
        let keypair = Keypair::generate().expect("randomness");
        let signer = copy(&keypair);
        Self::signed(keypair, signer, change).await
    }

    /// An agent that was told of one key, and whose reconciler signs with another.
    pub(crate) async fn signed(
        keypair: Keypair,
        signer: Keypair,
        change: impl FnOnce(&mut Script),
    ) -> Self {
        let reconciler = Reconciler::start(signer).await;
        change(&mut reconciler.script());
        Self::configured(keypair, reconciler, |_| ())
    }

    /// An agent of this reconciler, with another configuration than most.
    pub(crate) fn configured(
        keypair: Keypair,
        reconciler: Reconciler,
        change: impl FnOnce(&mut AgentConfig),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&reconciler.url, &keypair.public(), folder.path());
        change(&mut config);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or(()) };
        let running = tokio::spawn(easyenclave_agent::run(config.clone(), None, shutdown));
        let stop = Some(stop);
        Self {
            reconciler,
            keypair,
            config,
            stop,
            running,
            generations: 0,
            _folder: folder,
        }
    }

    pub(crate) fn id(&self) -> AgentId {
        self.config.order_id.agent()
    }

    /// Where the agent's own API answers.
    pub(crate) async fn address(&self) -> String {
        let address = |script: &Script| Some(script.registrations.last()?.address.clone());
        self.reconciler.until("it registers", address).await
    }

    /// An instruction to run a script of the shell.
    pub(crate) fn deploy(&mut self, script: &str) -> Value {
        self.generations += 1;
        json!({
            "agent_id": self.id(), "epoch": 2, "generation": self.generations,
            "deployment": "acme/web", "workload_digest": Digest::of(script.as_bytes()),
            "workload": { "process": { "command": ["sh", "-c", script] } },
        })
    }

    /// An instruction to stop what runs.
    pub(crate) fn undeploy(&mut self) -> Value {
        self.generations += 1;
        json!({ "agent_id": self.id(), "epoch": 2, "generation": self.generations })
    }

    /// Posts a message with this signature.
    pub(crate) async fn post(
        &self,
        route: &str,
        message: &Value,
        headers: HeaderMap,
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let body = message.to_string();
        let url = format!("{}{route}", self.address().await);
        let request = client().post(url).headers(headers).body(body);
        receive(request).await
    }

    /// A signature of the reconciler over a message.
    pub(crate) fn signature(&self, route: &str, message: &Value, nonce: &str) -> HeaderMap {
        let body = message.to_string();
        map(sign_request(
            &self.keypair,
            "POST",
            route,
            body.as_bytes(),
            now(),
            nonce,
        ))
    }

    /// Instructs the agent as the reconciler does. Answers the status and the body, after checking that
    /// the answer is the agent's.
    pub(crate) async fn instruct(&self, route: &str, message: &Value) -> (StatusCode, Value) {
        let nonce = unique();
        let headers = self.signature(route, message, &nonce);
        let (status, headers, body) = self.post(route, message, headers).await;
        let key = self
            .reconciler
            .script()
            .agent_key
            .expect("it has registered");
        verify_response(
            &key,
            status.as_u16(),
            &body,
            &headers,
            &nonce,
            now(),
            WINDOW,
        )
        .expect("signed by the agent");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    /// Has the agent run a script.
    pub(crate) async fn run(&mut self, script: &str) -> Generation {
        let message = self.deploy(script);
        let (status, body) = self.instruct(routes::DEPLOY, &message).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        assert_eq!(body["generation"], message["generation"]);
        Generation(self.generations)
    }

    /// A GET with the reconciler's signature.
    pub(crate) async fn get(&self, target: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
        let url = format!("{}{target}", self.address().await);
        let signed = map(sign_request(
            &self.keypair,
            "GET",
            target,
            b"",
            now(),
            &unique(),
        ));
        receive(client().get(url).headers(signed)).await
    }

    pub(crate) async fn health(&self) -> AgentHealth {
        let url = format!("{}{}", self.address().await, routes::AGENT_HEALTH);
        let (status, _, body) = receive(client().get(url)).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).expect("health")
    }

    /// Waits for a heartbeat whose workload is as wanted.
    pub(crate) async fn reported(
        &self,
        what: &str,
        wanted: impl Fn(&WorkloadReport) -> bool,
    ) -> WorkloadReport {
        let last = |script: &Script| script.beats.last()?.workload.clone().filter(&wanted);
        self.reconciler.until(what, last).await
    }

    /// Waits for a heartbeat that tells of these refused calls, and of no others.
    pub(crate) async fn refused(&self, counts: &[(CallRefusal, u64)]) {
        let told = |script: &Script| {
            let beat = script.beats.last()?;
            beat.refusals
                .iter()
                .eq(counts.iter().copied())
                .then_some(())
        };
        self.reconciler.until("refusals are told", told).await;
    }

    /// Waits for a heartbeat without a workload that knows of this instruction.
    pub(crate) async fn idle(&self, generation: Generation) {
        let last = |script: &Script| {
            let beat = script.beats.last()?;
            (beat.workload.is_none() && beat.generation >= generation).then_some(())
        };
        self.reconciler.until("it is idle", last).await;
    }

    /// Waits until this is all that the workload has written: it may be ready before it has.
    pub(crate) async fn logged(&self, target: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let (status, _, log) = self.get(target).await;
            let log = String::from_utf8(log).expect("text");
            assert_eq!(status, StatusCode::OK, "{log}");
            if wanted(&log) {
                return;
            }
            assert!(Instant::now() < deadline, "{target}: {log}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Processes of this agent's workload.
    pub(crate) fn processes(&self) -> usize {
        workload(&self.config.order_id)
    }

    /// Waits until the agent ends by itself.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        let ended = timeout(SOON, &mut self.running).await.expect("it ends");
        ended.expect("it does not panic").expect_err("it fails")
    }

    /// Tells the agent to end, and shows that nothing is left.
    pub(crate) async fn stop(mut self) {
        let stop = self.stop.take().expect("not stopped yet");
        stop.send(()).expect("it runs");
        let ended = timeout(SOON, &mut self.running).await.expect("it ends");
        ended.expect("it does not panic").expect("it ends well");
        assert_eq!(self.processes(), 0);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// What agents of this order that were killed have left in memory goes with this, also when the test fails.
pub(crate) struct Forget(pub(crate) OrderId);

impl Drop for Forget {
    fn drop(&mut self) {
        for path in memory(&self.0) {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// What agents of an order have in memory.
pub(crate) fn memory(order: &OrderId) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir("/dev/shm")
        .expect("a memory file system")
        .flatten();
    let name = format!(".{order}");
    folders
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(&name))
        .collect()
}

/// Instructs an agent at an address as the reconciler with this key does.
pub(crate) async fn instructed(
    key: &Keypair,
    address: &str,
    route: &str,
    message: &Value,
) -> (StatusCode, Value) {
    let body = message.to_string();
    let signed = map(sign_request(
        key,
        "POST",
        route,
        body.as_bytes(),
        now(),
        &unique(),
    ));
    // The agents of the same tests may run in another process, which alone has chosen one then.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let request = client().post(format!("{address}{route}")).headers(signed);
    let (status, _, body) = receive(request.body(body)).await;
    (status, serde_json::from_slice(&body).expect("JSON"))
}

/// Processes of an order's workload.
pub(crate) fn workload(order: &OrderId) -> usize {
    let processes = list().expect("listed");
    processes
        .iter()
        .filter(|other| other.label(labels::ORDER) == Some(order.as_str()))
        .count()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(SOON)
        .build()
        .expect("a client")
}

async fn receive(request: reqwest::RequestBuilder) -> (StatusCode, HeaderMap, Vec<u8>) {
    let answer = request.send().await.expect("answered");
    let (status, headers) = (answer.status(), answer.headers().clone());
    (
        status,
        headers,
        answer.bytes().await.expect("a body").to_vec(),
    )
}
