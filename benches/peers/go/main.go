// An exporter of export jobs as it is usually written in Go: the AWS SDK and client_golang.
// It reads the jobs when it is scraped, and keeps them for a time.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/pinpoint"
	"github.com/aws/aws-sdk-go-v2/service/pinpoint/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

const concurrentRequests = 16

var statuses = []string{
	"CREATED", "PREPARING_FOR_INITIALIZATION", "INITIALIZING", "PROCESSING", "PENDING_JOB", "COMPLETING", "COMPLETED",
	"FAILING", "FAILED",
}

var jobLabels = []string{"aws_account_id", "aws_region", "application_id", "segment_id", "job_id"}

func describe(name, help string, labels ...string) *prometheus.Desc {
	all := append(append([]string{}, jobLabels...), labels...)
	return prometheus.NewDesc("pinpoint_export_job_"+name, help, all, nil)
}

var (
	statusDesc = describe("status", "State of the job, as a state set", "status")
	infoDesc   = describe("info", "Type and definition of the job", "job_type", "segment_version", "s3_url_prefix", "role_arn")
)

type gauge struct {
	desc  *prometheus.Desc
	value func(job types.ExportJobResponse) *float64
}

var gauges = []gauge{
	{describe("pieces", "Pieces of the job"), func(job types.ExportJobResponse) *float64 { return number(job.TotalPieces) }},
	{describe("completed_pieces", "Completed pieces"), func(job types.ExportJobResponse) *float64 { return number(job.CompletedPieces) }},
	{describe("failed_pieces", "Failed pieces"), func(job types.ExportJobResponse) *float64 { return number(job.FailedPieces) }},
	{describe("processed_endpoints", "Processed endpoints"), func(job types.ExportJobResponse) *float64 { return number(job.TotalProcessed) }},
	{describe("failed_endpoints", "Failed endpoints"), func(job types.ExportJobResponse) *float64 { return number(job.TotalFailures) }},
	{describe("failure_samples", "Messages about failures"), func(job types.ExportJobResponse) *float64 {
		return aws.Float64(float64(len(job.Failures)))
	}},
	{describe("created_timestamp_seconds", "When it was created"), func(job types.ExportJobResponse) *float64 { return seconds(job.CreationDate) }},
	{describe("completed_timestamp_seconds", "When it ended"), func(job types.ExportJobResponse) *float64 { return seconds(job.CompletionDate) }},
}

func number(value *int32) *float64 {
	if value == nil {
		return nil
	}
	return aws.Float64(float64(*value))
}

func seconds(date *string) *float64 {
	parsed, err := time.Parse(time.RFC3339, aws.ToString(date))
	if err != nil {
		return nil
	}
	return aws.Float64(float64(parsed.UnixMilli()) / 1000)
}

type target struct{ application, segment string }

// exporter is a prometheus.Collector.
type exporter struct {
	client   *pinpoint.Client
	region   string
	targets  []target
	cacheTTL time.Duration

	mutex   sync.Mutex
	readAt  time.Time
	metrics []prometheus.Metric
}

func (e *exporter) Describe(descs chan<- *prometheus.Desc) {
	for _, gauge := range gauges {
		descs <- gauge.desc
	}
	descs <- statusDesc
	descs <- infoDesc
}

func (e *exporter) Collect(out chan<- prometheus.Metric) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if time.Since(e.readAt) > e.cacheTTL {
		metrics, err := e.read(context.Background())
		if err != nil {
			out <- prometheus.NewInvalidMetric(statusDesc, err)
			return
		}
		e.metrics, e.readAt = metrics, time.Now()
	}
	for _, metric := range e.metrics {
		out <- metric
	}
}

// read makes the metrics of all targets.
func (e *exporter) read(ctx context.Context) ([]prometheus.Metric, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrentRequests)
	ofTargets := make([][]prometheus.Metric, len(e.targets))
	for i, target := range e.targets {
		group.Go(func() (err error) {
			ofTargets[i], err = e.readTarget(ctx, target)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var metrics []prometheus.Metric
	for _, ofTarget := range ofTargets {
		metrics = append(metrics, ofTarget...)
	}
	return metrics, nil
}

// readTarget makes the metrics of all export jobs of a segment.
func (e *exporter) readTarget(ctx context.Context, t target) ([]prometheus.Metric, error) {
	var metrics []prometheus.Metric
	request := &pinpoint.GetSegmentExportJobsInput{
		ApplicationId: aws.String(t.application), SegmentId: aws.String(t.segment), PageSize: aws.String("100"),
	}
	for {
		page, err := e.client.GetSegmentExportJobs(ctx, request)
		if err != nil {
			return nil, err
		}
		for _, job := range page.ExportJobsResponse.Item {
			metrics = append(metrics, e.ofJob(t, job)...)
		}
		request.Token = page.ExportJobsResponse.NextToken
		if request.Token == nil {
			return metrics, nil
		}
	}
}

func (e *exporter) ofJob(t target, job types.ExportJobResponse) []prometheus.Metric {
	labels := []string{"", e.region, t.application, t.segment, aws.ToString(job.Id)}
	with := func(more ...string) []string { return append(append([]string{}, labels...), more...) }
	var metrics []prometheus.Metric
	add := func(desc *prometheus.Desc, value float64, labels []string) {
		metrics = append(metrics, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...))
	}
	for _, gauge := range gauges {
		if value := gauge.value(job); value != nil {
			add(gauge.desc, *value, labels)
		}
	}
	for _, status := range statuses {
		value := 0.0
		if status == string(job.JobStatus) {
			value = 1
		}
		add(statusDesc, value, with(status))
	}
	definition, version := job.Definition, ""
	if definition == nil {
		definition = &types.ExportJobResource{}
	}
	if definition.SegmentVersion != nil {
		version = strconv.Itoa(int(*definition.SegmentVersion))
	}
	add(infoDesc, 1, with(aws.ToString(job.Type), version, aws.ToString(definition.S3UrlPrefix), aws.ToString(definition.RoleArn)))
	return metrics
}

func setting(name string) string { return os.Getenv("PINPOINT_EXPORTER_" + name) }

func main() {
	loaded, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	ttl, err := time.ParseDuration(setting("CACHE_TTL"))
	if err != nil {
		log.Fatal(err)
	}
	e := &exporter{client: pinpoint.NewFromConfig(loaded), region: loaded.Region, cacheTTL: ttl}
	for _, each := range strings.Fields(setting("TARGETS")) {
		application, segment, _ := strings.Cut(each, "/")
		e.targets = append(e.targets, target{application, segment})
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(e)
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	log.Fatal(http.ListenAndServe(setting("LISTEN_ADDRESS"), nil))
}
