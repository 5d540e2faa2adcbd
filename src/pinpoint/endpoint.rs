//! The endpoint of the API: AWS's own endpoint of a region, or a configured one. Does no I/O.

use url::Url;

/// An AWS partition: its name in ARNs and the domains of its hosts.
struct Partition {
    name: &'static str,
    /// The prefix of its region names.
    region_prefix: &'static str,
    dns_suffix: &'static str,
    dualstack_dns_suffix: &'static str,
}

/// The commercial partition. It has every region that belongs to no other partition.
const COMMERCIAL: Partition = partition("aws", "", "amazonaws.com", "api.aws");

/// The other partitions, as AWS's SDKs know them.
const OTHERS: [Partition; 7] = [
    partition("aws-us-gov", "us-gov-", "amazonaws.com", "api.aws"),
    partition("aws-cn", "cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    partition("aws-eusc", "eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    partition("aws-iso", "us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    partition("aws-iso-b", "us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    partition("aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    partition("aws-iso-f", "us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
];

const fn partition(
    name: &'static str,
    region_prefix: &'static str,
    dns_suffix: &'static str,
    dualstack_dns_suffix: &'static str,
) -> Partition {
    Partition { name, region_prefix, dns_suffix, dualstack_dns_suffix }
}

fn partition_of(region: &str) -> &'static Partition {
    OTHERS.iter().find(|partition| region.starts_with(partition.region_prefix)).unwrap_or(&COMMERCIAL)
}

/// The name of a region's partition in ARNs.
pub fn partition_name(region: &str) -> &'static str {
    partition_of(region).name
}

/// Whether a host belongs to AWS.
pub(super) fn is_aws_host(host: &str) -> bool {
    let is_below = |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    let mut partitions = std::iter::once(&COMMERCIAL).chain(&OTHERS);
    partitions.any(|partition| is_below(partition.dns_suffix) || is_below(partition.dualstack_dns_suffix))
}

/// The endpoint of the API in a region, by the [endpoint rules] of AWS's SDKs.
///
/// [endpoint rules]: https://docs.aws.amazon.com/general/latest/gr/pinpoint.html
pub fn aws_endpoint(region: &str, fips: bool, dualstack: bool) -> Result<Url, url::ParseError> {
    let partition = partition_of(region);
    let host = if fips { "pinpoint-fips" } else { "pinpoint" };
    let suffix = if dualstack { partition.dualstack_dns_suffix } else { partition.dns_suffix };
    Url::parse(&format!("https://{host}.{region}.{suffix}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_hosts() {
        // Region, FIPS, dual-stack, and the host by the rules of botocore 1.44.5.
        let hosts = [
            ("us-east-1", false, false, "pinpoint.us-east-1.amazonaws.com"),
            ("us-east-1", true, false, "pinpoint-fips.us-east-1.amazonaws.com"),
            ("us-east-1", false, true, "pinpoint.us-east-1.api.aws"),
            ("us-east-1", true, true, "pinpoint-fips.us-east-1.api.aws"),
            ("us-gov-west-1", true, false, "pinpoint-fips.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, false, "pinpoint.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", false, true, "pinpoint.cn-north-1.api.amazonwebservices.com.cn"),
            ("us-iso-east-1", false, false, "pinpoint.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", false, true, "pinpoint.us-isob-east-1.api.aws.scloud"),
            ("eu-isoe-west-1", false, false, "pinpoint.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", false, false, "pinpoint.us-isof-south-1.csp.hci.ic.gov"),
            ("eusc-de-east-1", false, false, "pinpoint.eusc-de-east-1.amazonaws.eu"),
            ("xx-nowhere-9", false, false, "pinpoint.xx-nowhere-9.amazonaws.com"),
        ];
        for (region, fips, dualstack, host) in hosts {
            let url = aws_endpoint(region, fips, dualstack).unwrap();
            assert_eq!(url.as_str(), format!("https://{host}/"));
        }
    }
}
