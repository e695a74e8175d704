//! Work that blocks, kept off the node's thread.

use tokio::task::JoinError;

/// Runs `act` on a thread where it may block. In a simulation, which has one thread, it runs at once, some simulated
/// time later.
pub async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    #[cfg(any(test, feature = "simulation"))]
    if crate::simulation::is_running() {
        tokio::time::sleep(crate::simulation::pause()).await;
        return Ok(act());
    }
    tokio::task::spawn_blocking(act).await
}
