//! Calls of Compute Engine: each is sent once, ends by a deadline, and repeats nothing. Whoever asks again asks with the
//! same request id.

use std::future::Future;
use std::time::Duration;

use google_cloud_auth::credentials::Credentials;
use google_cloud_compute_v1::client::Instances;
use google_cloud_compute_v1::model::operation::Status;
use google_cloud_compute_v1::model::{
    Instance, InstanceAggregatedList, Operation, SerialPortOutput,
};
use google_cloud_gax::error::Error;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_gax::retry_policy::NeverRetry;
use tokio::time::{Instant, sleep, timeout};

use crate::fault::Fault;

/// How long things may take, and how often they are asked about.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// One call.
    pub call: Duration,
    /// What is waited for until an operation is over, in one go.
    pub operation: Duration,
    /// Between two looks at an operation.
    pub look: Duration,
    /// Between the starts of two listings.
    pub listing: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(20),
            operation: Duration::from_secs(45),
            look: Duration::from_secs(2),
            listing: Duration::from_secs(2),
        }
    }
}

/// What became of a request to make a machine.
pub(crate) enum Inserted {
    /// It is under way, or was.
    Operation(Box<Operation>),
    /// Something has the name: this is what was answered.
    Taken(Fault),
}

/// One project of Compute Engine.
pub(crate) struct Cloud {
    instances: Instances,
    pub(crate) project: String,
    pub(crate) pace: Pace,
}

impl Cloud {
    /// Prepares calls; nothing is sent yet.
    pub(crate) async fn new(
        project: String,
        endpoint: Option<&str>,
        credentials: Credentials,
        pace: Pace,
    ) -> Result<Self, Fault> {
        let mut builder = Instances::builder()
            .with_credentials(credentials)
            .with_retry_policy(NeverRetry);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let instances = builder.build().await;
        let instances = instances
            .map_err(|error| Fault::person("client of Compute Engine", error.to_string()))?;
        Ok(Self {
            instances,
            project,
            pace,
        })
    }

    pub(crate) async fn insert(
        &self,
        zone: &str,
        body: Instance,
        request_id: &str,
    ) -> Result<Inserted, Fault> {
        let call = self.instances.insert();
        let call = call.set_project(&self.project).set_zone(zone);
        let call = call.set_request_id(request_id).set_body(body);
        let call = call.with_attempt_timeout(self.pace.call).send();
        let what = format!("making a machine in {zone}");
        match self.answer(&what, call).await? {
            Ok(operation) => Ok(Inserted::Operation(Box::new(operation))),
            Err(error) if error.http_status_code() == Some(409) => {
                Ok(Inserted::Taken(Fault::of(what, &error)))
            }
            Err(error) => Err(Fault::of(what, &error)),
        }
    }

    /// The machine with this name or number, if there is one.
    pub(crate) async fn get(&self, zone: &str, instance: &str) -> Result<Option<Instance>, Fault> {
        let call = self.instances.get();
        let call = call.set_project(&self.project).set_zone(zone);
        let call = call.set_instance(instance);
        let call = call.with_attempt_timeout(self.pace.call).send();
        self.there(&format!("machine {instance} in {zone}"), call)
            .await
    }

    /// Starts the end of a machine; none when there is no such machine.
    pub(crate) async fn delete(
        &self,
        zone: &str,
        id: u64,
        request_id: &str,
    ) -> Result<Option<Operation>, Fault> {
        let call = self.instances.delete();
        let call = call.set_project(&self.project).set_zone(zone);
        let call = call.set_instance(id.to_string()).set_request_id(request_id);
        let call = call.with_attempt_timeout(self.pace.call).send();
        self.there(&format!("removing machine {id} in {zone}"), call)
            .await
    }

    /// One page of the machines that a filter finds, in all zones.
    pub(crate) async fn page(
        &self,
        filter: &str,
        token: Option<&str>,
    ) -> Result<InstanceAggregatedList, Fault> {
        let call = self.instances.aggregated_list();
        let call = call.set_project(&self.project).set_filter(filter);
        let call = call.set_max_results(500_u32).set_or_clear_page_token(token);
        let call = call.with_attempt_timeout(self.pace.call).send();
        let what = format!("listing the machines of {}", self.project);
        let answer = self.answer(&what, call).await?;
        answer.map_err(|error| Fault::of(what, &error))
    }

    /// The last bytes that a machine wrote to its first serial port; none when there is no such machine.
    pub(crate) async fn serial(
        &self,
        zone: &str,
        id: u64,
        last: i64,
    ) -> Result<Option<SerialPortOutput>, Fault> {
        let call = self.instances.get_serial_port_output();
        let call = call.set_project(&self.project).set_zone(zone);
        let call = call
            .set_instance(id.to_string())
            .set_port(1)
            .set_start(-last);
        let call = call.with_attempt_timeout(self.pace.call).send();
        self.there(&format!("serial port of machine {id} in {zone}"), call)
            .await
    }

    /// Waits until an operation is over, well or not, for as long as one go may take.
    pub(crate) async fn over(
        &self,
        zone: &str,
        mut operation: Operation,
    ) -> Result<Operation, Fault> {
        let name = operation.name.clone().unwrap_or_default();
        let what = format!("operation {name} in {zone}");
        let deadline = Instant::now() + self.pace.operation;
        while !is_over(&operation) {
            if Instant::now() + self.pace.look > deadline {
                return Err(Fault::later(what, "it is not over yet"));
            }
            sleep(self.pace.look).await;
            let call = self.instances.get_operation();
            let call = call.set_project(&self.project).set_zone(zone);
            let call = call.set_operation(&name);
            let call = call.with_attempt_timeout(self.pace.call).send();
            let there = self.there(&what, call).await?;
            operation = there.ok_or_else(|| Fault::later(&what, "it is not known any more"))?;
        }
        warn(&what, &operation);
        Ok(operation)
    }

    async fn there<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Fault> {
        match self.answer(what, call).await? {
            Ok(there) => Ok(Some(there)),
            Err(error) if error.http_status_code() == Some(404) => Ok(None),
            Err(error) => Err(Fault::of(what, &error)),
        }
    }

    /// The client's own deadline is for the call; getting a token first has another.
    async fn answer<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, Fault> {
        let answer = timeout(self.pace.call * 2, call).await;
        answer.map_err(|_| Fault::later(what, "no answer in time"))
    }
}

/// Whether an operation has ended, which says nothing of how.
pub(crate) fn is_over(operation: &Operation) -> bool {
    operation.status == Some(Status::Done)
}

/// An operation may end well and leave something behind, such as a disk that costs money.
fn warn(what: &str, operation: &Operation) {
    for warning in &operation.warnings {
        let code = warning.code.as_ref().and_then(|code| code.name());
        let code = code.unwrap_or("no code");
        let message = warning.message.as_deref().unwrap_or("no message");
        tracing::warn!(what, code, message, "an operation has ended with a warning");
    }
}
