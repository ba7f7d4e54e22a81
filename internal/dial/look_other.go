//go:build !unix

package dial

// received cannot tell here: a client finds out that a connection is closed when it
// uses it.
func (c *Conn) received() State { return Quiet }
