//! Rules: which table is asked, and when (policy routing).

use inet::Prefix;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, NetlinkError};

/// "Do not suppress", as the kernel spells it in an answer.
const NO_SUPPRESSION: u32 = u32::MAX;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// For IPv4 or for IPv6.
    pub ipv4: bool,
    /// Smaller is asked earlier (the main table stands at 32766).
    pub priority: u32,
    /// The table to look into. 0 for a rule that names none (read only).
    pub table: u32,
    /// Only packets with this mark under this mask.
    pub mark: Option<(u32, u32)>,
    /// Refuse answers whose prefix is this long or shorter: 0 passes over default routes.
    pub suppress_prefix_len: Option<u32>,
    /// Only packets to this prefix.
    pub destination: Option<Prefix>,
    /// Only packets from this prefix.
    pub source: Option<Prefix>,
    /// Whose it is: the routing protocol number.
    pub protocol: u8,
}

impl Rule {
    /// "Ask `table`", at that priority, for every packet.
    #[must_use]
    pub fn new(ipv4: bool, priority: u32, table: u32, protocol: u8) -> Self {
        Self {
            ipv4,
            priority,
            table,
            mark: None,
            suppress_prefix_len: None,
            destination: None,
            source: None,
            protocol,
        }
    }
}

impl Netlink {
    /// All rules of both families, in the kernel's order.
    pub fn rules(&mut self) -> Result<Vec<Rule>, NetlinkError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let answers = self.socket.dump(&RouteNetlinkMessage::GetRule(message))?;
            found.extend(answers.iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRule(message) => read(message),
                _ => None,
            }));
        }
        Ok(found)
    }

    /// Add a rule. [`NetlinkError::Exists`] when the very same is there.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        self.socket.change(RouteNetlinkMessage::NewRule(build(rule)), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Delete a rule: only one that agrees in everything, the protocol included.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        self.socket.change(RouteNetlinkMessage::DelRule(build(rule)), 0)
    }
}

fn build(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: if rule.ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 },
        dst_len: rule.destination.map_or(0, |p| p.len()),
        src_len: rule.source.map_or(0, |p| p.len()),
        table: u8::try_from(rule.table).unwrap_or(0),
        action: RuleAction::ToTable,
        ..Default::default()
    };
    let list = &mut message.attributes;
    list.push(RuleAttribute::Priority(rule.priority));
    list.push(RuleAttribute::Table(rule.table));
    list.push(RuleAttribute::Protocol(rule.protocol.into()));
    if let Some((mark, mask)) = rule.mark {
        list.push(RuleAttribute::FwMark(mark));
        list.push(RuleAttribute::FwMask(mask));
    }
    list.extend(rule.suppress_prefix_len.map(RuleAttribute::SuppressPrefixLen));
    list.extend(rule.destination.map(|p| RuleAttribute::Destination(p.addr())));
    list.extend(rule.source.map(|p| RuleAttribute::Source(p.addr())));
    message
}

pub(super) fn read(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let ipv4 = match header.family {
        AddressFamily::Inet => true,
        AddressFamily::Inet6 => false,
        _ => return None,
    };
    let mut rule = Rule::new(ipv4, 0, header.table.into(), 0);
    let (mut mark, mut mask) = (None, u32::MAX);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Protocol(protocol) => rule.protocol = (*protocol).into(),
            RuleAttribute::FwMark(value) => mark = Some(*value),
            RuleAttribute::FwMask(value) => mask = *value,
            RuleAttribute::SuppressPrefixLen(NO_SUPPRESSION) => {}
            RuleAttribute::SuppressPrefixLen(len) => rule.suppress_prefix_len = Some(*len),
            RuleAttribute::Destination(address) => {
                rule.destination = Prefix::new(*address, header.dst_len).ok()
            }
            RuleAttribute::Source(address) => rule.source = Prefix::new(*address, header.src_len).ok(),
            _ => {}
        }
    }
    rule.mark = mark.map(|value| (value, mask));
    Some(rule)
}
