//! Numbers of the IANA BGP registries, open to values not known here.

use std::fmt;

/// AS_TRANS: stands for a 4-octet AS number where two octets must do (RFC 6793 section 9).
pub const AS_TRANS: u16 = 23456;

macro_rules! registry {
    ($(#[$doc:meta])* $name:ident($inner:ty) { $($(#[$item:meta])* $constant:ident = $value:expr, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl $name {
            $($(#[$item])* pub const $constant: Self = Self($value);)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$constant => f.write_str($text),)*
                    Self(other) => write!(f, "{other}"),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", self, self.0)
            }
        }
    };
}

registry! {
    /// Message type (RFC 4271 section 4.1).
    MessageType(u8) {
        /// RFC 4271 section 4.2.
        OPEN = 1, "OPEN";
        /// RFC 4271 section 4.3.
        UPDATE = 2, "UPDATE";
        /// RFC 4271 section 4.5.
        NOTIFICATION = 3, "NOTIFICATION";
        /// RFC 4271 section 4.4.
        KEEPALIVE = 4, "KEEPALIVE";
        /// RFC 2918.
        ROUTE_REFRESH = 5, "ROUTE-REFRESH";
    }
}

registry! {
    /// Path attribute type code.
    AttributeType(u8) {
        /// RFC 4271.
        ORIGIN = 1, "ORIGIN";
        /// RFC 4271.
        AS_PATH = 2, "AS_PATH";
        /// RFC 4271.
        NEXT_HOP = 3, "NEXT_HOP";
        /// RFC 4271.
        MED = 4, "MULTI_EXIT_DISC";
        /// RFC 4271.
        LOCAL_PREF = 5, "LOCAL_PREF";
        /// RFC 4271.
        ATOMIC_AGGREGATE = 6, "ATOMIC_AGGREGATE";
        /// RFC 4271.
        AGGREGATOR = 7, "AGGREGATOR";
        /// RFC 1997.
        COMMUNITIES = 8, "COMMUNITIES";
        /// RFC 4456.
        ORIGINATOR_ID = 9, "ORIGINATOR_ID";
        /// RFC 4456.
        CLUSTER_LIST = 10, "CLUSTER_LIST";
        /// RFC 4760.
        MP_REACH_NLRI = 14, "MP_REACH_NLRI";
        /// RFC 4760.
        MP_UNREACH_NLRI = 15, "MP_UNREACH_NLRI";
        /// RFC 4360.
        EXTENDED_COMMUNITIES = 16, "EXTENDED_COMMUNITIES";
        /// RFC 6793.
        AS4_PATH = 17, "AS4_PATH";
        /// RFC 6793.
        AS4_AGGREGATOR = 18, "AS4_AGGREGATOR";
        /// RFC 6514.
        PMSI_TUNNEL = 22, "PMSI_TUNNEL";
        /// RFC 9012.
        TUNNEL_ENCAPSULATION = 23, "TUNNEL_ENCAPSULATION";
        /// RFC 5701.
        IPV6_EXTENDED_COMMUNITIES = 25, "IPV6_EXTENDED_COMMUNITIES";
        /// RFC 7311.
        AIGP = 26, "AIGP";
        /// RFC 9552.
        LINK_STATE = 29, "BGP-LS";
        /// RFC 8092.
        LARGE_COMMUNITY = 32, "LARGE_COMMUNITY";
        /// RFC 9234.
        ONLY_TO_CUSTOMER = 35, "OTC";
        /// RFC 8669.
        PREFIX_SID = 40, "PREFIX_SID";
    }
}

registry! {
    /// Capability code (RFC 5492).
    CapabilityCode(u8) {
        /// RFC 4760.
        MULTIPROTOCOL = 1, "multiprotocol";
        /// RFC 2918.
        ROUTE_REFRESH = 2, "route refresh";
        /// RFC 5291.
        ORF = 3, "outbound route filtering";
        /// RFC 8950.
        EXTENDED_NEXT_HOP = 5, "extended next hop";
        /// RFC 8654.
        EXTENDED_MESSAGE = 6, "extended message";
        /// RFC 9234.
        ROLE = 9, "role";
        /// RFC 4724.
        GRACEFUL_RESTART = 64, "graceful restart";
        /// RFC 6793.
        AS4 = 65, "4 byte AS";
        /// RFC 7911.
        ADD_PATH = 69, "add-path";
        /// RFC 7313.
        ENHANCED_REFRESH = 70, "enhanced route refresh";
        /// RFC 9494.
        LONG_LIVED_GRACEFUL_RESTART = 71, "long-lived graceful restart";
        /// draft-walton-bgp-hostname-capability.
        FQDN = 73, "hostname";
        /// draft-abraitis-bgp-version-capability.
        SOFTWARE_VERSION = 75, "software version";
        /// Cisco's route refresh before RFC 2918.
        LEGACY_REFRESH = 128, "legacy route refresh";
    }
}
