module github.com/pinpoint-exporter/pinpoint-exporter/tests/tools/gunzip

go 1.26.0

tool github.com/pinpoint-exporter/pinpoint-exporter/tests/tools/gunzip
