// Toolkit is an exporter as Go programs usually are: client_golang's /metrics behind exporter-toolkit. It is what the exporter
// is compared with under attack. Its metrics have the names, the labels and the size of the exporter's.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
)

var (
	labels = []string{"aws_account_id", "aws_region", "application_id", "segment_id", "job_id"}
	gauges = []string{
		"pieces", "completed_pieces", "failed_pieces", "processed_endpoints", "failed_endpoints", "failure_samples",
		"created_timestamp_seconds", "completed_timestamp_seconds",
	}
	statuses = []string{
		"CREATED", "PREPARING_FOR_INITIALIZATION", "INITIALIZING", "PROCESSING", "PENDING_JOB", "COMPLETING", "COMPLETED",
		"FAILING", "FAILED",
	}
	up         = prometheus.NewDesc("pinpoint_target_up", "Whether the API answered.", nil, nil)
	statusDesc = desc("status", "status")
	infoDesc   = desc("info", "job_type", "segment_version", "s3_url_prefix", "role_arn")
	gaugeDescs = func() (descs []*prometheus.Desc) {
		for _, name := range gauges {
			descs = append(descs, desc(name))
		}
		return descs
	}()
)

func desc(name string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("pinpoint_export_job_"+name, "A field of an export job.", append(labels[:5:5], more...), nil)
}

// jobs shows so many jobs, whose values are other ones in each scrape.
type jobs struct {
	number int
	isUp   bool
}

func (jobs) Describe(chan<- *prometheus.Desc) {}

func (jobs jobs) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	if !jobs.isUp {
		gauge(up, 0)
		return
	}
	gauge(up, 1)
	now := float64(time.Now().UnixNano()) / 1e9
	for number := range jobs.number {
		job := []string{"", "eu-west-1", "app", "seg", "job-" + strconv.Itoa(number)}
		for index, desc := range gaugeDescs {
			gauge(desc, now+float64(index), job...)
		}
		for index, status := range statuses {
			value := 0.0
			if index == number%len(statuses) {
				value = 1
			}
			gauge(statusDesc, value, append(job[:5:5], status)...)
		}
		gauge(infoDesc, 1, append(job[:5:5], "EXPORT", "1", "s3://bucket/prefix", "arn:aws:iam::123456789012:role/export")...)
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "where to listen")
	config := flag.String("config", "", "the file of the web configuration")
	api := flag.String("api", "", "what is asked in each scrape")
	number := flag.Int("jobs", 450, "how many jobs there are")
	flag.Parse()

	metrics := func(response http.ResponseWriter, request *http.Request) {
		timeout := 10.0
		if header, err := strconv.ParseFloat(request.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64); err == nil {
			timeout = header
		}
		ctx, cancel := context.WithTimeout(request.Context(), time.Duration((timeout-0.5)*float64(time.Second)))
		defer cancel()
		registry := prometheus.NewRegistry()
		registry.MustRegister(jobs{number: *number, isUp: ask(ctx, *api) == nil})
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(response, request)
	}
	http.HandleFunc("/metrics", metrics)
	http.HandleFunc("/-/healthy", func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(response, "Healthy.")
	})
	no := false
	flags := web.FlagConfig{WebListenAddresses: &[]string{*listen}, WebSystemdSocket: &no, WebConfigFile: config}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	log.Fatal(web.ListenAndServe(&http.Server{}, &flags, logger))
}

func ask(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
