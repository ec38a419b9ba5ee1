package main

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "example.com/truestock-example/truestock/v1"
)

const (
	callTime     = 30 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// truestock has the services of one Truestock.
type truestock struct {
	connection   *grpc.ClientConn
	allocations  pb.AllocationServiceClient
	availability pb.AvailabilityServiceClient
	fulfillment  pb.FulfillmentServiceClient
	stock        pb.StockServiceClient
}

func connect(address string) (*truestock, error) {
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	return &truestock{
		connection:   connection,
		allocations:  pb.NewAllocationServiceClient(connection),
		availability: pb.NewAvailabilityServiceClient(connection),
		fulfillment:  pb.NewFulfillmentServiceClient(connection),
		stock:        pb.NewStockServiceClient(connection),
	}, nil
}

// newID returns a request id: a random UUID. The same request is sent again with the same id.
func newID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// call makes one call and repeats it until its deadline while the service says "not now". For a write, the RequestId
// of the request makes that safe; reads and catalog records need none.
func call[Request, Answer any](
	ctx context.Context, method func(context.Context, Request, ...grpc.CallOption) (Answer, error), request Request,
) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	deadline, _ := ctx.Deadline()
	for longest := firstPause; ; longest = min(2*longest, longestPause) {
		answer, err := method(ctx, request)
		asked, isAsked := retryAfter(err)
		if err == nil || !(status.Code(err) == codes.Unavailable || isAsked) {
			return answer, err
		}
		pause := asked + time.Duration(mathrand.Int63n(int64(longest)))
		if time.Now().Add(pause).After(deadline) {
			return answer, err
		}
		time.Sleep(pause)
	}
}

// retryAfter returns the pause that the RetryInfo of an error asks for, if it has one.
func retryAfter(err error) (time.Duration, bool) {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration(), true
		}
	}
	return 0, false
}

func min(a, b time.Duration) time.Duration {
	if a < b {
		return a
	}
	return b
}

// watch sends each figure of a product that a channel may sell, until ctx ends. After an interruption it resumes after
// the last message; an error that resuming cannot help with ends it.
func (t *truestock) watch(ctx context.Context, channel, sku string) (<-chan int64, <-chan error) {
	figures, failed := make(chan int64), make(chan error, 1)
	go func() {
		request := &pb.WatchAvailabilityRequest{ChannelId: channel, Skus: []string{sku}}
		for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
			stream, err := t.availability.WatchAvailability(ctx, request)
			for err == nil {
				var message *pb.WatchAvailabilityResponse
				if message, err = stream.Recv(); err != nil {
					break
				}
				for _, change := range message.Changes {
					select {
					case figures <- change.SellableCount:
					case <-ctx.Done():
						return
					}
				}
				if message.ResumeToken != "" {
					request.ResumeToken = message.ResumeToken
				}
				pause = firstPause
			}
			switch status.Code(err) {
			case codes.InvalidArgument, codes.NotFound, codes.Unimplemented:
				failed <- err
				return
			}
			time.Sleep(pause)
		}
	}()
	return figures, failed
}
