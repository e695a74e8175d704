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

/// Runs `act` on a thread of its own, for which nobody waits and which the end of the process cuts short. In a simulation
/// it runs at once.
pub fn aside(name: &str, act: impl FnOnce() + Send + 'static) {
    #[cfg(any(test, feature = "simulation"))]
    if crate::simulation::is_running() {
        return act();
    }
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(act) {
        tracing::warn!("cannot start the thread {name}: {error}");
    }
}
