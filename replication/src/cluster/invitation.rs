//! A node that belongs to no cluster yet and waits until one invites it: `ALTER SYSTEM ADD NODE`.

use std::io;
use std::time::Duration;

use tracing::{debug, info};

use crate::net::frame::{FrameReader, write_frame};
use crate::net::link::{Link, Listener};
use crate::net::message::{GREETING_BYTES_MAX, Hello, Invitation, PROTOCOL, Request, Response, Welcome};

/// Time for somebody who connects to say what they want.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until a cluster invites this node, for as long as it takes.
pub async fn invitation(listener: &Listener, name: &str) -> io::Result<Invitation> {
    info!(name, "waiting for a cluster to invite this node: ALTER SYSTEM ADD NODE");
    loop {
        let (link, from) = listener.accept().await?;
        match tokio::time::timeout(PATIENCE, listen(link, name)).await {
            Ok(Ok(Some(invitation))) => {
                info!(cluster = invitation.cluster, %from, "invited");
                return Ok(invitation);
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => debug!("the conversation with {from} ended: {error}"),
            Err(_) => debug!("{from} did not say what they want"),
        }
    }
}

async fn listen(link: Link, name: &str) -> io::Result<Option<Invitation>> {
    let invalid = |error: postcard::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let (reader, mut writer) = link.split()?;
    let mut reader = FrameReader::new(reader, GREETING_BYTES_MAX);
    let Some(greeting) = reader.next().await? else { return Ok(None) };
    let hello: Hello = postcard::from_bytes(&greeting.header).map_err(invalid)?;
    let refusal = match hello {
        Hello { protocol, .. } if protocol != PROTOCOL => {
            Some(format!("this node speaks version {PROTOCOL} of the peer protocol, not {protocol}"))
        }
        Hello { cluster, .. } if !cluster.is_empty() => Some("this node belongs to no cluster yet".to_owned()),
        _ => None,
    };
    let welcome = refusal.clone().map_or(Welcome::Accepted, Welcome::Refused);
    write_frame(&mut writer, &postcard::to_stdvec(&welcome).map_err(invalid)?, &[]).await?;
    if refusal.is_some() {
        return Ok(None);
    }
    let Some(request) = reader.next().await? else { return Ok(None) };
    let (invitation, response) = match postcard::from_bytes(&request.header).map_err(invalid)? {
        Request::Invite(invitation) => (Some(invitation), Response::Invited { name: name.to_owned() }),
        _ => (None, Response::Error("this node belongs to no cluster yet".to_owned())),
    };
    write_frame(&mut writer, &postcard::to_stdvec(&response).map_err(invalid)?, &[]).await?;
    Ok(invitation)
}
