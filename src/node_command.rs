//! `lockstep node …`: what an operator does to the cluster from the command line of a node's machine.
//!
//! Owns the flags and what is printed. What is allowed is decided by the primary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use engine::cluster::{ClusterChange, ClusterChangeError, ClusterChanged};
use engine::commit_log::ClusterStatus;
use replication::{Operator, OperatorError};

/// Shows and changes the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(name = "lockstep node", bin_name = "lockstep node")]
struct Command {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Args)]
struct Target {
    /// Data directory of a node of the cluster: who can read it may change the cluster
    #[arg(long, global = true, value_name = "DIR", default_value = "lockstep-data")]
    data_dir: PathBuf,
    /// Address for peers of any node that runs
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:15432")]
    connect: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows the nodes
    List,
    /// Invites a process that was started with --await-invitation
    Add {
        /// Its address for peers
        address: String,
        /// It stays an asynchronous standby
        #[arg(long)]
        learner: bool,
    },
    /// Removes a node for ever
    Remove { name: String },
    /// Makes a learner a voter
    Promote { name: String },
    /// Makes a voter a learner
    Demote { name: String },
    /// Makes another node the primary: this one, or the one that is best prepared
    Switchover { name: Option<String> },
}

/// Runs `lockstep node` with the arguments that follow these words.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let Command { target, action } = Command::parse_from(std::iter::once("lockstep node".to_owned()).chain(arguments));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lockstep: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(act(&target, action)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockstep: {error}");
            if let OperatorError::Change(ClusterChangeError::Refused { detail, hint, .. }) = &error {
                for (title, text) in
                    [("DETAIL", detail), ("HINT", hint)].into_iter().filter(|(_, text)| !text.is_empty())
                {
                    eprintln!("{title}: {text}");
                }
            }
            ExitCode::FAILURE
        }
    }
}

async fn act(target: &Target, action: Action) -> Result<(), OperatorError> {
    let operator = Operator::of(&target.data_dir, &target.connect)?;
    let change = match action {
        Action::List => {
            print_nodes(&operator.status().await?);
            return Ok(());
        }
        Action::Add { address, learner } => ClusterChange::AddNode { peer_address: address, learner },
        Action::Remove { name } => ClusterChange::RemoveNode { name },
        Action::Promote { name } => ClusterChange::PromoteNode { name },
        Action::Demote { name } => ClusterChange::DemoteNode { name },
        Action::Switchover { name } => ClusterChange::Switchover { to: name },
    };
    let ClusterChanged { node, warnings, notices } = operator.change(change).await?;
    for (title, lines) in [("WARNING", warnings), ("NOTICE", notices)] {
        lines.iter().for_each(|line| eprintln!("{title}: {line}"));
    }
    println!("{node}");
    Ok(())
}

fn print_nodes(status: &ClusterStatus) {
    println!("cluster {}, term {}", status.cluster_id, status.term);
    let heads = ["id", "name", "role", "membership", "state", "lag bytes", "peers", "clients"].map(String::from);
    let mut rows = vec![heads];
    for n in &status.nodes {
        let (id, lag) = (n.id.to_string(), n.lag_bytes.to_string());
        let text = |text: &String| text.clone();
        rows.push([
            id,
            text(&n.name),
            text(&n.role),
            text(&n.membership),
            text(&n.state),
            lag,
            text(&n.peer_address),
            text(&n.client_address),
        ]);
    }
    let widths: Vec<usize> =
        (0..8).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
    for forced in &status.forced {
        println!(
            "DATA LOSS POSSIBLE: in term {} node {} was forced to go on without {}",
            forced.term,
            forced.node,
            forced.given_up.join(", ")
        );
    }
}
