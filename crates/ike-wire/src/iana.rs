//! The registries of <https://www.iana.org/assignments/ikev2-parameters/>, as open newtypes.
//!
//! A constant's name is the registry's, so what is printed can be looked up.

use crate::registry::registry;

mod notify;

pub use notify::NotifyType;

registry! {
    /// IKEv2 exchange types (RFC 7296 section 3.1).
    pub struct ExchangeType(u8) {
        IKE_SA_INIT = 34,
        IKE_AUTH = 35,
        CREATE_CHILD_SA = 36,
        INFORMATIONAL = 37,
        IKE_SESSION_RESUME = 38,
        GSA_AUTH = 39,
        GSA_REGISTRATION = 40,
        GSA_REKEY = 41,
        IKE_INTERMEDIATE = 43,
        IKE_FOLLOWUP_KE = 44,
    }
}

registry! {
    /// IKEv2 payload types (RFC 7296 section 3.2; SKF: RFC 7383).
    pub struct PayloadType(u8) {
        /// The end of a chain.
        NONE = 0,
        SA = 33,
        KE = 34,
        ID_I = 35,
        ID_R = 36,
        CERT = 37,
        CERTREQ = 38,
        AUTH = 39,
        NONCE = 40,
        NOTIFY = 41,
        DELETE = 42,
        VENDOR_ID = 43,
        TS_I = 44,
        TS_R = 45,
        /// Encrypted and authenticated.
        SK = 46,
        CP = 47,
        EAP = 48,
        GSPM = 49,
        IDG = 50,
        GSA = 51,
        KD = 52,
        /// Encrypted and authenticated fragment.
        SKF = 53,
        PS = 54,
    }
}

registry! {
    /// Security protocol identifiers (RFC 7296 section 3.3.1).
    pub struct ProtocolId(u8) {
        /// Used where a payload concerns no SA (RFC 7296 section 3.10).
        NONE = 0,
        IKE = 1,
        AH = 2,
        ESP = 3,
        FC_ESP_HEADER = 4,
        FC_CT_AUTHENTICATION = 5,
    }
}

registry! {
    /// Transform types (RFC 7296 section 3.3.2; additional key exchanges: RFC 9370).
    pub struct TransformType(u8) {
        ENCR = 1,
        PRF = 2,
        INTEG = 3,
        /// Key exchange method, earlier called D-H group.
        KE = 4,
        ESN = 5,
        ADDKE1 = 6,
        ADDKE2 = 7,
        ADDKE3 = 8,
        ADDKE4 = 9,
        ADDKE5 = 10,
        ADDKE6 = 11,
        ADDKE7 = 12,
    }
}

registry! {
    /// Transform type 1: encryption algorithms.
    pub struct EncrId(u16) {
        ENCR_DES = 2,
        ENCR_3DES = 3,
        ENCR_NULL = 11,
        ENCR_AES_CBC = 12,
        ENCR_AES_CTR = 13,
        ENCR_AES_CCM_8 = 14,
        ENCR_AES_CCM_12 = 15,
        ENCR_AES_CCM_16 = 16,
        ENCR_AES_GCM_8 = 18,
        ENCR_AES_GCM_12 = 19,
        ENCR_AES_GCM_16 = 20,
        ENCR_NULL_AUTH_AES_GMAC = 21,
        ENCR_CAMELLIA_CBC = 23,
        ENCR_CHACHA20_POLY1305 = 28,
    }
}

registry! {
    /// Transform type 2: pseudorandom functions.
    pub struct PrfId(u16) {
        PRF_HMAC_MD5 = 1,
        PRF_HMAC_SHA1 = 2,
        PRF_AES128_XCBC = 4,
        PRF_HMAC_SHA2_256 = 5,
        PRF_HMAC_SHA2_384 = 6,
        PRF_HMAC_SHA2_512 = 7,
        PRF_AES128_CMAC = 8,
    }
}

registry! {
    /// Transform type 3: integrity algorithms.
    pub struct IntegId(u16) {
        NONE = 0,
        AUTH_HMAC_MD5_96 = 1,
        AUTH_HMAC_SHA1_96 = 2,
        AUTH_AES_XCBC_96 = 5,
        AUTH_AES_CMAC_96 = 8,
        AUTH_AES_128_GMAC = 9,
        AUTH_AES_192_GMAC = 10,
        AUTH_AES_256_GMAC = 11,
        AUTH_HMAC_SHA2_256_128 = 12,
        AUTH_HMAC_SHA2_384_192 = 13,
        AUTH_HMAC_SHA2_512_256 = 14,
    }
}

registry! {
    /// Transform type 4: key exchange methods. The KE payload and INVALID_KE_PAYLOAD carry the same numbers.
    pub struct KeGroup(u16) {
        NONE = 0,
        MODP_768 = 1,
        MODP_1024 = 2,
        MODP_1536 = 5,
        MODP_2048 = 14,
        MODP_3072 = 15,
        MODP_4096 = 16,
        MODP_6144 = 17,
        MODP_8192 = 18,
        ECP_256 = 19,
        ECP_384 = 20,
        ECP_521 = 21,
        MODP_1024_160 = 22,
        MODP_2048_224 = 23,
        MODP_2048_256 = 24,
        ECP_192 = 25,
        ECP_224 = 26,
        BRAINPOOL_P224R1 = 27,
        BRAINPOOL_P256R1 = 28,
        BRAINPOOL_P384R1 = 29,
        BRAINPOOL_P512R1 = 30,
        CURVE25519 = 31,
        CURVE448 = 32,
        ML_KEM_512 = 35,
        ML_KEM_768 = 36,
        ML_KEM_1024 = 37,
    }
}

registry! {
    /// Transform type 5: sequence numbers of ESP and AH.
    pub struct EsnId(u16) {
        /// 32-bit sequence numbers.
        NO_ESN = 0,
        /// 64-bit sequence numbers.
        ESN = 1,
    }
}

registry! {
    /// Transform attribute types (RFC 7296 section 3.3.5), 15 bits, without the format bit.
    pub struct AttributeType(u16) {
        KEY_LENGTH = 14,
    }
}

registry! {
    /// Identification types (RFC 7296 section 3.5).
    pub struct IdType(u8) {
        ID_IPV4_ADDR = 1,
        ID_FQDN = 2,
        ID_RFC822_ADDR = 3,
        ID_IPV6_ADDR = 5,
        ID_DER_ASN1_DN = 9,
        ID_DER_ASN1_GN = 10,
        ID_KEY_ID = 11,
        ID_FC_NAME = 12,
        ID_NULL = 13,
    }
}

registry! {
    /// Certificate encodings (RFC 7296 section 3.6).
    pub struct CertEncoding(u8) {
        PKCS7_X509 = 1,
        PGP = 2,
        DNS_SIGNED_KEY = 3,
        X509_SIGNATURE = 4,
        KERBEROS_TOKEN = 6,
        CRL = 7,
        ARL = 8,
        SPKI = 9,
        X509_ATTRIBUTE = 10,
        HASH_AND_URL_X509 = 12,
        HASH_AND_URL_BUNDLE = 13,
        OCSP_CONTENT = 14,
        RAW_PUBLIC_KEY = 15,
    }
}

registry! {
    /// Authentication methods (RFC 7296 section 3.8).
    pub struct AuthMethod(u8) {
        RSA_SIGNATURE = 1,
        /// Shared Key Message Integrity Code.
        SHARED_KEY_MIC = 2,
        DSS_SIGNATURE = 3,
        ECDSA_SHA256_P256 = 9,
        ECDSA_SHA384_P384 = 10,
        ECDSA_SHA512_P521 = 11,
        GENERIC_SECURE_PASSWORD = 12,
        NULL_AUTHENTICATION = 13,
        DIGITAL_SIGNATURE = 14,
    }
}

registry! {
    /// Traffic selector types (RFC 7296 section 3.13.1).
    pub struct TsType(u8) {
        TS_IPV4_ADDR_RANGE = 7,
        TS_IPV6_ADDR_RANGE = 8,
        TS_FC_ADDR_RANGE = 9,
        TS_SECLABEL = 10,
    }
}

registry! {
    /// Configuration payload types (RFC 7296 section 3.15).
    pub struct ConfigType(u8) {
        CFG_REQUEST = 1,
        CFG_REPLY = 2,
        CFG_SET = 3,
        CFG_ACK = 4,
    }
}

registry! {
    /// Configuration attribute types (RFC 7296 section 3.15.1), 15 bits; the 28672.. ones are Cisco Unity's.
    pub struct ConfigAttributeType(u16) {
        INTERNAL_IP4_ADDRESS = 1,
        INTERNAL_IP4_NETMASK = 2,
        INTERNAL_IP4_DNS = 3,
        INTERNAL_IP4_NBNS = 4,
        INTERNAL_IP4_DHCP = 6,
        APPLICATION_VERSION = 7,
        INTERNAL_IP6_ADDRESS = 8,
        INTERNAL_IP6_DNS = 10,
        INTERNAL_IP6_DHCP = 12,
        INTERNAL_IP4_SUBNET = 13,
        SUPPORTED_ATTRIBUTES = 14,
        INTERNAL_IP6_SUBNET = 15,
        MIP6_HOME_PREFIX = 16,
        INTERNAL_IP6_LINK = 17,
        INTERNAL_IP6_PREFIX = 18,
        HOME_AGENT_ADDRESS = 19,
        P_CSCF_IP4_ADDRESS = 20,
        P_CSCF_IP6_ADDRESS = 21,
        FTT_KAT = 22,
        EXTERNAL_SOURCE_IP4_NAT_INFO = 23,
        TIMEOUT_PERIOD_FOR_LIVENESS_CHECK = 24,
        INTERNAL_DNS_DOMAIN = 25,
        INTERNAL_DNSSEC_TA = 26,
        UNITY_BANNER = 28672,
        UNITY_SAVE_PASSWD = 28673,
        UNITY_DEF_DOMAIN = 28674,
        UNITY_SPLITDNS_NAME = 28675,
        UNITY_SPLIT_INCLUDE = 28676,
        UNITY_NATT_PORT = 28677,
        UNITY_LOCAL_LAN = 28678,
        UNITY_PFS = 28679,
        UNITY_FW_TYPE = 28680,
        UNITY_BACKUP_SERVERS = 28681,
        UNITY_DDNS_HOSTNAME = 28682,
    }
}

registry! {
    /// IPComp transform identifiers, the content of IPCOMP_SUPPORTED (RFC 7296 section 3.10.1).
    pub struct IpcompId(u8) {
        IPCOMP_OUI = 1,
        IPCOMP_DEFLATE = 2,
        IPCOMP_LZS = 3,
        IPCOMP_LZJH = 4,
    }
}
