package transport

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
)

// An answer about a large cluster is more than one message of NATS holds. It is packed where it is long and whoever asks has said that he
// can unpack it; anybody else is told to ask for less.
const (
	acceptHeader   = "Accept-Encoding"  // of a request
	encodingHeader = "Content-Encoding" // of an answer
	gzipEncoding   = "gzip"

	packFrom    = 128 << 10 // bytes: shorter answers are not worth the time
	unpackedMax = 256 << 20 // bytes: nobody means a longer one
)

// pack puts an answer's text into its message.
func pack(asked, answer *nats.Msg, text []byte) error {
	if answer.Data = text; len(text) < packFrom || asked.Header.Get(acceptHeader) != gzipEncoding {
		return nil
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return err
	}
	answer.Header.Set(encodingHeader, gzipEncoding)
	answer.Data = packed.Bytes()
	return nil
}

// unpack returns the text of an answer.
func unpack(answer *nats.Msg) ([]byte, error) {
	switch encoding := answer.Header.Get(encodingHeader); encoding {
	case "":
		return answer.Data, nil
	case gzipEncoding:
	default:
		return nil, fmt.Errorf("its encoding %q is not known here", encoding)
	}
	r, err := gzip.NewReader(bytes.NewReader(answer.Data))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, unpackedMax+1))
	if err == nil && len(text) > unpackedMax {
		err = fmt.Errorf("it is longer than %d MiB", unpackedMax>>20)
	}
	return text, err
}
