//! `GET /ws`: who may open a socket, and the upgrade.

use std::os::fd::{AsFd, OwnedFd};
use std::{any::Any, net::TcpStream, sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, dev::Extensions, http::header, web};
use socket2::SockRef;

use super::{
    address::ClientAddress,
    auth::{bearer, origin_allowed},
    edge::Gateway,
    limits::Kind,
    rest::problem,
    session::{self, Peer, auth_refusal},
};
use crate::{
    clock,
    wire::{ErrorCode, Refusal},
};

/// How long the kernel tries to hand over bytes that the other side does not acknowledge. A cable that is out is
/// noticed so; below the time of a usual change of networks sessions would be lost that could have gone on.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// The kernel's own buffer towards one client. It counts to what a client that does not read may cost; below the
/// bandwidth of a client times its round trip it would slow downloads, of which there are none on a socket.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// A second handle on a connection, to end it from outside.
#[derive(Clone)]
pub struct Connection(pub Arc<TcpStream>);

/// Called by the server for each new connection.
pub fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    let Some(tcp) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() else { return };
    let socket = SockRef::from(tcp);
    // None of these is needed for being right: a kernel that refuses one leaves a slower or larger connection.
    let _ = socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    let _ = socket.set_tcp_nodelay(true);
    match tcp.as_fd().try_clone_to_owned() {
        Ok(descriptor) => {
            let descriptor: OwnedFd = descriptor;
            data.insert(Connection(Arc::new(TcpStream::from(descriptor))));
        }
        Err(error) => tracing::warn!(%error, "connection without a second handle: out of file descriptors?"),
    }
}

/// The upgrade.
pub async fn upgrade(
    request: HttpRequest,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, actix_web::Error> {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(origin) = text(header::ORIGIN)
        && !origin_allowed(origin, text(header::HOST), &gateway.allowed_origins)
    {
        return Ok(problem(&Refusal::new(ErrorCode::Forbidden, "this origin may not open a socket")));
    }
    if gateway.node.is_draining() {
        return Ok(problem(&Refusal::unavailable("the node is leaving; try another")));
    }
    let address = ClientAddress::of(&request);
    if let Err(refusal) = gateway.limits.by_address(Kind::Connect, address) {
        return Ok(problem(&refusal));
    }
    let claims = match text(header::AUTHORIZATION) {
        None => None,
        Some(value) => {
            let Some(token) = bearer(value) else {
                return Ok(problem(&Refusal::new(
                    ErrorCode::Unauthenticated,
                    "the Authorization header is no bearer token",
                )));
            };
            match gateway.verifier.verify(token, clock::now()).await {
                Ok(claims) => Some(claims),
                Err(error) => return Ok(problem(&auth_refusal(error))),
            }
        }
    };
    if let Some(Err(refusal)) = claims.as_ref().map(|claims| gateway.limits.by_user_alone(Kind::Connect, &claims.user))
    {
        return Ok(problem(&refusal));
    }
    let tcp = request.conn_data::<Connection>().map(|connection| connection.0.clone());
    session::upgrade(gateway.into_inner(), &request, payload, claims, Peer { tcp, address })
}
