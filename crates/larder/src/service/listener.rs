//! The listening socket, and whether the address may be listened on at all.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    path::Path,
};

use tokio::net::TcpListener;

use crate::failure::Failure;

/// Binds `address`.
///
/// # Errors
/// The port is taken or not allowed; the remedy names another.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "stop what listens there, or take another port: --listen {}, PORT={} or listen in larder.toml",
                neighbour(address),
                neighbour(address).port(),
            ),
            io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 need a privilege; take another, such as --listen {}:8000", address.ip())
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have the address; use 127.0.0.1, or 0.0.0.0 for all of them".to_owned()
            }
            _ => String::new(),
        };
        let cause = match error.kind() {
            io::ErrorKind::AddrInUse => format!("{address} is in use by another process"),
            _ => format!("{address} can't be listened on: {error}"),
        };
        Failure::configuration(cause, remedy)
    })
}

/// Where it listens, with the port that was chosen.
///
/// # Errors
/// The system does not tell.
pub fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener
        .local_addr()
        .map_err(|error| Failure::configuration(format!("the listening address is unknown: {error}"), ""))
}

/// The URL under which a process of this machine reaches what listens on an address.
pub fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The same socket once more: what one of them does not accept waits for the other.
///
/// # Errors
/// The process has no file descriptor left.
pub fn again(listener: &TcpListener) -> Result<TcpListener, Failure> {
    let again = || {
        let socket = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    };
    again().map_err(|error| Failure::configuration(format!("the socket can't be shared: {error}"), ""))
}

/// Refuses an address that others can reach while anybody would be administrator.
///
/// # Errors
/// The address lies beyond loopback and no key exists.
pub fn check_reach(address: SocketAddr, has_key: bool, data_dir: &Path) -> Result<(), Failure> {
    if has_key || address.ip().is_loopback() {
        return Ok(());
    }
    Err(Failure::configuration(
        format!(
            "{address} can be reached from other machines, and there is no key: everybody could do everything"
        ),
        format!(
            "create a key with `larder key create --name admin --scope admin --data-dir {}`, or set LARDER_ADMIN_KEY to a random text of at least 16 characters; or listen on 127.0.0.1",
            data_dir.display()
        ),
    ))
}

/// The next port, for a suggestion.
fn neighbour(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(8_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_may_be_open_without_a_key() {
        for open in ["127.0.0.1:80", "[::1]:80", "127.9.9.9:80"] {
            assert!(check_reach(open.parse().unwrap(), false, Path::new("d")).is_ok(), "{open}");
        }
        for reachable in ["0.0.0.0:80", "[::]:80", "192.168.1.5:80"] {
            let dir = Path::new("/srv/larder");
            let failure = check_reach(reachable.parse().unwrap(), false, dir).unwrap_err();
            assert!(
                failure
                    .remedy
                    .contains("larder key create --name admin --scope admin --data-dir /srv/larder`")
            );
            assert!(failure.remedy.contains("LARDER_ADMIN_KEY"));
            assert!(check_reach(reachable.parse().unwrap(), true, dir).is_ok());
        }
    }
}
