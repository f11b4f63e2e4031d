// Command differential reads JSON documents as Go's protojson does, and writes what it makes of each.
//
// Standard input has one item a line, each in hexadecimal digits: a FileDescriptorSet, the full name of a message, and then
// documents. For each document there is a line on standard output: "accepted" and the message as protobuf bytes in
// hexadecimal digits, or "refused" and the error.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	input := bufio.NewReader(os.Stdin)
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()

	encoded, err := readItem(input)
	if err != nil {
		return err
	}
	var descriptors descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(encoded, &descriptors); err != nil {
		return err
	}
	files, err := protodesc.NewFiles(&descriptors)
	if err != nil {
		return err
	}
	name, err := readItem(input)
	if err != nil {
		return err
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return err
	}
	descriptor, ok := found.(protoreflect.MessageDescriptor)
	if !ok {
		return fmt.Errorf("%s is not a message", name)
	}
	options := protojson.UnmarshalOptions{Resolver: dynamicpb.NewTypes(files)}
	for {
		document, err := readItem(input)
		if err != nil {
			return nil
		}
		fmt.Fprintln(output, judge(options, descriptor, document))
	}
}

func readItem(input *bufio.Reader) ([]byte, error) {
	line, err := input.ReadString('\n')
	if err != nil {
		return nil, err
	}
	return hex.DecodeString(strings.TrimSpace(line))
}

func judge(options protojson.UnmarshalOptions, descriptor protoreflect.MessageDescriptor, document []byte) string {
	message := dynamicpb.NewMessage(descriptor)
	if err := options.Unmarshal(document, message); err != nil {
		return "refused " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return "refused " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	return "accepted " + hex.EncodeToString(encoded)
}
