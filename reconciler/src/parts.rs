//! The parts of the daemon that run beside its passes, each for ever. One that ends or panics must not go
//! unnoticed: without it instructions or changes would be left lying for months.

use std::collections::HashMap;

use anyhow::anyhow;
use tokio::task::{Id, JoinError, JoinSet};

/// Parts that run. They end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Parts {
    /// Starts a part.
    pub(crate) fn start<T>(
        &mut self,
        name: &'static str,
        part: impl Future<Output = T> + Send + 'static,
    ) {
        let task = self.tasks.spawn(async move {
            part.await;
        });
        self.names.insert(task.id(), name);
    }

    /// Waits until a part is over, and answers which and why.
    pub(crate) async fn over(&mut self) -> anyhow::Error {
        let name = |id: &Id| self.names.get(id).copied().unwrap_or("a part");
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => ended(name(&id), Ok(())),
            Some(Err(error)) => ended(name(&error.id()), Err(error)),
            None => anyhow!("no part is running"),
        }
    }
}

/// What became of a part that should run for ever.
pub(crate) fn ended(name: &str, how: Result<(), JoinError>) -> anyhow::Error {
    match how {
        Ok(()) => anyhow!("{name} has ended"),
        Err(error) => anyhow::Error::new(error).context(format!("{name} broke off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_or_ends_is_named() {
        let mut parts = Parts::default();
        parts.start("the watch", std::future::pending::<()>());
        parts.start("delivery", async { panic!("on purpose") });
        assert_eq!(parts.over().await.to_string(), "delivery broke off");
        parts.start("the API", async {});
        assert_eq!(parts.over().await.to_string(), "the API has ended");
    }
}
