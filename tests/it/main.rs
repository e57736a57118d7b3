mod bus;
mod config;
