package writer

import (
	"bytes"
	"fmt"
	"hash/crc32"
)

// recordSize is the length of a record: a line of text, so that a person can
// read the file too.
const recordSize = 128

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is number n of a run, with its checksum.
func record(run string, n int64) []byte {
	text := fmt.Appendf(nil, "%s %012d ", run, n)
	text = append(text, bytes.Repeat([]byte("."), recordSize-len(text)-len(" 01234567\n"))...)
	return fmt.Appendf(text, " %08x\n", crc32.Checksum(text, castagnoli))
}

// number of a record of this run, if it is whole.
func number(run string, slot []byte) (int64, bool) {
	var n int64
	if _, err := fmt.Sscanf(string(slot), run+" %d ", &n); err != nil {
		return 0, false
	}
	return n, bytes.Equal(slot, record(run, n))
}
