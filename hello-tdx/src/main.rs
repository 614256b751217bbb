//! The example workload as a program of its own.

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    hello_tdx::run().await
}
