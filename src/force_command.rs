//! `lockstep force-primary`: lets one node go on without the others, which are gone for good.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Makes the node of a data directory, which must not be running, the only voter of its cluster. For when the others are
/// gone for good: what they acknowledged and this node never got is lost.
#[derive(Debug, Parser)]
#[command(name = "lockstep force-primary", bin_name = "lockstep force-primary")]
struct Command {
    /// Data directory of the node that survived
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Runs `lockstep force-primary` with the arguments that follow these words.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let command = Command::parse_from(std::iter::once("lockstep force-primary".to_owned()).chain(arguments));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lockstep: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(replication::force_primary(&command.data_dir)) {
        Ok(done) => {
            let (node, cluster) = (&done.node, &done.cluster);
            println!("node {node} is the only voter of cluster {cluster} from term {} on", done.term);
            println!("given up: {}", done.given_up.join(", "));
            if !done.dropped.is_empty() {
                println!("no members any more, to join again: {}", done.dropped.join(", "));
            }
            println!(
                "WARNING: what they acknowledged and {node} never got is lost; lockstep_data_loss_epochs remembers this"
            );
            println!("Start {node} now. The others are refused until they join again with empty data directories.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("lockstep: nothing was forced: {error}");
            ExitCode::FAILURE
        }
    }
}
