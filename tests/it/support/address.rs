//! Loopback addresses that nothing else listens on.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::process;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

/// An address of 127.0.0.0/8 that this process and call alone have, and a port free there. On 127.0.0.1 another
/// test's outgoing connection could take the port between this look and the server's bind.
pub(crate) fn free() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = process::id().to_be_bytes();
    let own = IpAddr::V4(Ipv4Addr::new(
        127,
        high.max(1),
        low,
        u8::try_from(count % 250 + 2).unwrap(),
    ));
    TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}
