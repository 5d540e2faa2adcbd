"""The limits of the judges and live checks in real time."""

# How long anything that must come is waited for, in seconds. Only a hang takes longer, however busy the machine is.
HANG_LIMIT = 300
# Variables of an exporter under test: longer than a busy machine makes any request and any scrape take.
UNHURRIED = {
    "PINPOINT_EXPORTER_REQUEST_TIMEOUT": "2m",
    "PINPOINT_EXPORTER_REFRESH_TIMEOUT": "5m",
    "PINPOINT_EXPORTER_SCRAPE_TIMEOUT": "4m",
}
