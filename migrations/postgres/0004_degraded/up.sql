-- Whether the node reaches the other nodes over the bus, as it says itself. False: what its calls come to is looked up here
-- by those who follow them.
ALTER TABLE nodes ADD COLUMN bus_up boolean NOT NULL DEFAULT true;
