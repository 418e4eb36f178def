// What the subcommands of `hornet` have in common: parsing with Boost.Program_options, help with
// examples, and options that several of them take.
#pragma once

#include <hornet/pipelines/raster_reader.h>
#include <hornet/pipelines/run_report.h>
#include <hornet/pipelines/runtime.h>

#include <boost/program_options.hpp>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

namespace hornet::cli {

namespace po = boost::program_options;

struct Command {
  std::string name;      // "detect"
  std::string summary;   // one sentence
  std::string usage;     // "hornet detect --weights FILE --input FILE --output FILE [options]"
  std::string examples;  // lines to copy
  po::options_description options;
};

// Parses the arguments after the subcommand's name. With --help, prints it on stdout and returns
// nothing. Unknown options, missing values and missing required options are Error(kUsage).
std::optional<po::variables_map> parse(Command command, int argc, char** argv);

// --device and --dtype, and what they say; `types` are those of the command, for its help.
void add_runtime_options(po::options_description& options,
                         const std::string& types = "fp32, tf32 (on GPUs), bf16 or fp16");
RuntimeOptions runtime_options(const po::variables_map& values);

// --range and --bands of rasters, and what they say.
void add_raster_options(po::options_description& options);
RasterOptions raster_options(const po::variables_map& values);

// "1333x800" as width 1333 and height 800; "224" as 224x224. Error(kUsage) below 32 pixels.
cv::Size parse_size(const std::string& text, const std::string& option);

// "2G", "512M" or "1.5G" in bytes. Error(kUsage) for anything else.
int64_t parse_bytes(const std::string& text, const std::string& option);

// No file may be written twice, or be read and written: Error(kUsage) names the two options.
// Options that are not given, and "-", are no files.
void check_distinct(const po::variables_map& values, const std::vector<std::string>& outputs,
                    const std::vector<std::string>& inputs);

// Option values with a range: Error(kUsage) names the option, the range and what was given.
void check_range(const po::variables_map& values, const std::string& option, double low,
                 double high);

// The options as given, for run.json.
nlohmann::ordered_json arguments_of(const po::variables_map& values);

// A document to be read by people, too. A name or path that is not UTF-8 does not cost the run: its
// bytes become the replacement character.
std::string json_text(const nlohmann::ordered_json& document);

// "ok", "partial" or "interrupted".
std::string status_of(int code);

}  // namespace hornet::cli
