// Publishes JSON lines to Kafka, a line a record: flag changes, deployments and heap records, as they are appended to
// files. In production those who know send them themselves.
//
//	publish -brokers HOST:PORT -topics             make the topics of tracerag that are missing
//	publish -brokers HOST:PORT TOPIC=FILE …        follow the files until a signal, then publish what is left and end
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxMessageBytes fits the exporter's max_message_bytes, see deploy/collector/README.md.
const maxMessageBytes = "16777216"

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "the brokers to begin with, separated by commas")
	topics := flag.Bool("topics", false, "make the topics and end")
	partitions := flag.Int("partitions", 4, "partitions of the topics of spans, logs and metrics")
	flag.Parse()
	if err := run(strings.Split(*brokers, ","), *topics, int32(*partitions), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "publish:", err)
		os.Exit(1)
	}
}

func run(brokers []string, topics bool, partitions int32, files []string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return err
	}
	defer client.Close()
	if topics {
		return makeTopics(client, partitions)
	}
	stopped, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	ended := make(chan error, len(files))
	for _, argument := range files {
		topic, file, ok := strings.Cut(argument, "=")
		if !ok {
			return fmt.Errorf("%q is not TOPIC=FILE", argument)
		}
		go func() { ended <- follow(stopped, client, topic, file) }()
	}
	for range files {
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}

func makeTopics(client *kgo.Client, partitions int32) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	limit := maxMessageBytes
	wanted := map[string]int32{
		"otlp_spans": partitions, "otlp_logs": partitions, "otlp_metrics": partitions,
		"feature_flags": 1, "deployments": 1, "heap_summaries": 1,
	}
	for topic, partitions := range wanted {
		answer, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, map[string]*string{"max.message.bytes": &limit}, topic)
		if err = errors.Join(err, answer.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("make the topic %s: %w", topic, err)
		}
	}
	return nil
}

// follow publishes each line that is appended to file, in order, until stopped is done and all is published.
func follow(stopped context.Context, client *kgo.Client, topic, file string) error {
	source, err := os.OpenFile(file, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer source.Close()
	lines, begun := bufio.NewReader(source), ""
	for {
		// Asked before the end is seen: what was written before the signal is read after it.
		last := stopped.Err() != nil
		line, err := lines.ReadString('\n')
		begun += line
		if err == nil {
			record := &kgo.Record{Topic: topic, Value: []byte(strings.TrimSuffix(begun, "\n"))}
			if err := client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
				return fmt.Errorf("publish to %s: %w", topic, err)
			}
			begun = ""
			continue
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		if last {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}
