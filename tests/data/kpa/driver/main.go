// Drives Knative's own autoscaler with explicit times and prints what it decides.
//
// Input: one JSON object per line: {"config": {...}, "records": [[t_s, value]...], "ticks": [[t_s, ready]...]}.
// Output, per line: [[stable, panic, desired, excess_burst_capacity, valid]...]; floats as strings, for NaN and Inf.
// A line with "ops" drives one window instead: [["record", t_s, value], ["average", t_s], ["resize", window_s]...].
//
// Times are relative. Runs that read the wall clock inside Knative (initial_ready > 1, resize) are based on the even
// second this program starts at, all others on epochBase: the output does not depend on when it runs.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/aggregation"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
)

const epochBase = 1767225600

type config struct {
	TargetValue, TotalValue, TargetBurstCapacity     float64
	MaxScaleUpRate, MaxScaleDownRate, PanicThreshold float64
	Reachable                                        bool
	ActivationScale                                  int32
	ScalingMetric, ScrapeTarget                      string
	StableWindow                                     float64 `json:"stable_window_s"`
	PanicWindow                                      float64 `json:"panic_window_s"`
	Aggregation                                      string  `json:"aggregation"`
	ScaleDownDelay                                   float64 `json:"scale_down_delay_s"`
	InitialReady                                     int     `json:"initial_ready"`
}

type run struct {
	Config  config
	Records [][2]float64
	Ticks   [][2]float64
	Ops     [][]any

	base   time.Time
	scaler scaling.UniScaler
	pods   *pods
	store  *metrics.MetricCollector
}

type pods struct{ ready int }

func (p *pods) ReadyCount() (int, error)    { return p.ready, nil }
func (p *pods) NotReadyCount() (int, error) { return 0, nil }

var key = types.NamespacedName{Namespace: "n", Name: "r"}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func noScraper(*v1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) { return nil, nil }

// create builds the collector and the autoscaler; New reads the wall clock when it starts in panic.
func (r *run) create(wall time.Time, logger *zap.SugaredLogger) {
	c := r.Config
	r.base = time.Unix(epochBase, 0)
	if c.InitialReady > 1 {
		r.base = wall
	}
	r.store = metrics.NewMetricCollector(noScraper, logger)
	err := r.store.CreateOrUpdate(&v1alpha1.Metric{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Annotations: map[string]string{
			autoscaling.MetricAggregationAlgorithmKey: c.Aggregation,
		}},
		Spec: v1alpha1.MetricSpec{
			StableWindow: seconds(c.StableWindow), PanicWindow: seconds(c.PanicWindow), ScrapeTarget: c.ScrapeTarget,
		},
	})
	if err != nil {
		panic(err)
	}
	r.pods = &pods{ready: c.InitialReady}
	r.scaler = scaling.New(*attribute.EmptySet(), noop.NewMeterProvider(), key.Namespace, key.Name, r.store, r.pods,
		&scaling.DeciderSpec{
			MaxScaleUpRate: c.MaxScaleUpRate, MaxScaleDownRate: c.MaxScaleDownRate, ScalingMetric: c.ScalingMetric,
			TargetValue: c.TargetValue, TotalValue: c.TotalValue, TargetBurstCapacity: c.TargetBurstCapacity,
			PanicThreshold: c.PanicThreshold, StableWindow: seconds(c.StableWindow),
			ScaleDownDelay: seconds(c.ScaleDownDelay), Reachable: c.Reachable, ActivationScale: c.ActivationScale,
		})
}

func (r *run) averages(now time.Time) (float64, float64) {
	read := r.store.StableAndPanicConcurrency
	if r.Config.ScalingMetric == autoscaling.RPS {
		read = r.store.StableAndPanicRPS
	}
	stable, panicking, _ := read(key, now)
	return stable, panicking
}

func (r *run) replay(logger *zap.SugaredLogger) [][5]any {
	rows := make([][5]any, 0, len(r.Ticks))
	next := 0
	for _, tick := range r.Ticks {
		for ; next < len(r.Records) && r.Records[next][0] <= tick[0]; next++ {
			stat := metrics.Stat{AverageConcurrentRequests: r.Records[next][1]}
			if r.Config.ScalingMetric == autoscaling.RPS {
				stat = metrics.Stat{RequestCount: r.Records[next][1]}
			}
			r.store.Record(key, r.base.Add(seconds(r.Records[next][0])), stat)
		}
		now := r.base.Add(seconds(tick[0]))
		r.pods.ready = int(tick[1])
		stable, panicking := r.averages(now)
		s := r.scaler.Scale(logger, now)
		rows = append(rows, [5]any{text(stable), text(panicking), s.DesiredPodCount, s.ExcessBurstCapacity, s.ScaleValid})
	}
	r.store.Delete(key.Namespace, key.Name)
	return rows
}

type window interface {
	Record(time.Time, float64)
	WindowAverage(time.Time) float64
	ResizeWindow(time.Duration)
}

func (r *run) drive(wall time.Time) []string {
	var w window = aggregation.NewTimedFloat64Buckets(seconds(r.Config.StableWindow), time.Second)
	if r.Config.Aggregation != autoscaling.MetricAggregationAlgorithmLinear {
		w = aggregation.NewWeightedFloat64Buckets(seconds(r.Config.StableWindow), time.Second)
	}
	out := []string{}
	for _, op := range r.Ops {
		at := wall.Add(seconds(op[1].(float64)))
		switch op[0] {
		case "record":
			w.Record(at, op[2].(float64))
		case "average":
			out = append(out, text(w.WindowAverage(at)))
		case "resize":
			w.ResizeWindow(seconds(op[1].(float64)))
		}
	}
	return out
}

func text(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<28)
	logger := zap.NewNop().Sugar()
	var runs []*run
	for in.Scan() {
		r := &run{}
		if err := json.Unmarshal(in.Bytes(), r); err != nil {
			panic(err)
		}
		runs = append(runs, r)
	}
	wall := time.Now().Truncate(2 * time.Second).Add(2 * time.Second)
	time.Sleep(time.Until(wall))
	wall = wall.Round(0) // drops the monotonic reading
	for _, r := range runs {
		if r.Ops == nil {
			r.create(wall, logger)
		}
	}
	if time.Since(wall) >= time.Second {
		panic("creating the autoscalers took over a second: give fewer runs at once")
	}
	out := json.NewEncoder(os.Stdout)
	for _, r := range runs {
		var err error
		if r.Ops != nil {
			err = out.Encode(r.drive(wall))
		} else {
			err = out.Encode(r.replay(logger))
		}
		if err != nil {
			panic(err)
		}
	}
}
